"""One running desk for all browser tests, which `make e2e` runs; they are skipped without Chromium."""

from __future__ import annotations

import pytest

from tests.browser.running import CHROMIUM, near_copy, photographs, running

COUNT = 80

LEASE = 15
"""s"""


@pytest.fixture(scope="session")
def desk():
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: `make e2e` installs it")
    images = photographs(COUNT)
    last = list(images)[-1]
    images |= {f"copy-of-{last}": near_copy(images[last])}
    settings = {"LENSWATCH_REVIEW__LEASE": f"PT{LEASE}S", "LENSWATCH_REVIEW__SAMPLE_SHARE": "0"}
    with running(images, **settings) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_to_complain_about(desk):
    """Scripts fail nowhere, and nothing asks for what the content security policy forbids."""
    desk.complaints.clear()
    yield
    assert not desk.complaints
