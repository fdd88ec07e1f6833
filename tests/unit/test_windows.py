"""Which patches are looked at together."""

import pytest

from pipeline.windows import TOGETHER, windows


@pytest.mark.parametrize("count", range(1, 70))
def test_every_patch_is_in_a_window_and_no_window_is_longer_than_a_crop(count):
    seen = [list(range(count))[window] for window in windows(count)]
    assert {len(window) for window in seen} == {min(count, TOGETHER)}
    assert sorted({patch for window in seen for patch in window}) == list(range(count))


def test_whole_windows_do_not_overlap():
    assert windows(32) == [slice(0, 16), slice(16, 32)]
