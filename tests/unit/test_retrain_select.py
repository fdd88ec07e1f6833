"""What the nightly job fits on, calibrates on and judges by."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.ports import VerifiedPhoto
from pipeline.records import SELF_DESCRIPTION_DIM
from pipeline.retrain.select import NotEnough, Selection, Side, camera, select, split, uploader
from pipeline.settings import RetrainSettings

SETTINGS = RetrainSettings(min_photos=100, max_per_uploader=5)


def photo(number: int, *, who: str | None = "ada", model: str | None = "X100", make: str = "Fuji") -> VerifiedPhoto:
    return VerifiedPhoto(
        sha256=f"{number:064x}",
        uploader_id=who,
        make=make if model else None,
        model=model,
        surface="default",
        embedding=np.zeros(528, dtype=np.float32),
        self_description=np.zeros(SELF_DESCRIPTION_DIM, dtype=np.float32),
        patch_count=16,
        ai_probability=0.1,
    )


def crowd(count: int = 600, uploaders: int = 150, cameras: int = 40) -> list[VerifiedPhoto]:
    """Every uploader owns two cameras; one photograph in ten lost its EXIF."""
    rng = np.random.default_rng(0)
    photos = []
    for number in range(count):
        who = int(rng.integers(uploaders))
        model = f"model-{(who * 7 + int(rng.random() < 0.3)) % cameras}"
        photos.append(photo(number, who=f"user-{who}", model=None if rng.random() < 0.1 else model))
    return photos


def ids(photos) -> set[str]:
    return {photo.sha256 for photo in photos}


def test_sides_share_no_uploader_and_no_camera_model():
    chosen = select(crowd(), SETTINGS, smallest_rate=0.02)
    assert isinstance(chosen, Selection)
    sides = (chosen.fit, chosen.calibration, chosen.held_out)
    for key in (uploader, camera):
        seen = [{key(photo) for photo in side} - {None} for side in sides]
        assert not seen[0] & seen[1]
        assert not seen[0] & seen[2]
        assert not seen[1] & seen[2]
    assert sum(len(side) for side in sides) > 0.6 * chosen.counts["after_caps"], "few photographs straddle"


def test_the_order_of_the_rows_does_not_matter():
    photos = crowd()
    first = select(photos, SETTINGS, smallest_rate=0.02)
    again = select(photos[::-1], SETTINGS, smallest_rate=0.02)
    assert isinstance(first, Selection)
    assert isinstance(again, Selection)
    assert [ids(side) for side in (first.fit, first.calibration, first.held_out)] == [
        ids(side) for side in (again.fit, again.calibration, again.held_out)
    ]


def test_a_camera_keeps_its_side_when_photographs_come_and_go():
    """Else tonight's gate would ask about photographs that the champion was fitted on."""
    photos = [photo(number, who=f"user-{number}", model=f"model-{number % 40}") for number in range(400)]
    before = split(photos[:200], calibration_share=0.4, held_out_share=0.2)
    after = split(photos, calibration_share=0.4, held_out_share=0.2)
    for side in Side:
        assert before[side]
        assert ids(before[side]) <= ids(after[side])


def test_a_photograph_never_changes_sides_whatever_its_uploader_brings():
    """Nor does one without a model, though its uploader moves: it is left out then."""
    nameless = [photo(number, who=f"user-{number % 50}", model=None) for number in range(200)]
    more = [photo(1000 + number, who=f"user-{number % 50}", model=f"model-{number % 7}") for number in range(500)]
    before, after = (split(some, calibration_share=0.4, held_out_share=0.2) for some in (nameless, nameless + more))
    for side in Side:
        assert before[side]
        assert ids(after[side]) & ids(nameless) <= ids(before[side])
    assert any(photo.model is None for side in Side for photo in after[side])


@pytest.mark.parametrize(
    ("photos", "kept"),
    [
        ([photo(1), photo(1)], 1),  # the same bytes twice
        ([photo(n) for n in range(50)], 5),  # one keen uploader
        ([photo(n, who=None) for n in range(50)], 5),  # ... who does not say who he is
        ([photo(n, who=None, model=f"m-{n}") for n in range(50)], 50),  # fifty cameras of unknown people
        ([photo(n, who=f"user-{n}") for n in range(50)], 50),  # fifty people
    ],
)
def test_caps(photos, kept):
    chosen = select(photos, SETTINGS, smallest_rate=0.02)
    assert isinstance(chosen, NotEnough)
    assert chosen.counts["after_caps"] == kept


def test_the_total_is_capped():
    chosen = select(crowd(), RetrainSettings(min_photos=100, max_photos=300), smallest_rate=0.02)
    assert chosen.counts["after_caps"] == 300


def people(count: int, cameras: int) -> list[VerifiedPhoto]:
    return [photo(number, who=f"user-{number}", model=f"model-{number % cameras}") for number in range(count)]


@pytest.mark.parametrize(
    ("photos", "rate", "reason"),
    [
        ([], 0.02, "0 verified photographs of 100 needed"),
        (people(99, 40), 0.02, "99 verified photographs of 100 needed"),
        (people(200, 1), 0.02, "0 camera models to fit on, of 4 needed"),  # one camera is on one side only
        (people(200, 40), 0.001, "photographs for calibration, of 999 needed"),  # too few to promise 0.1 %
    ],
)
def test_too_few_are_an_outcome_with_a_reason(photos, rate, reason):
    chosen = select(photos, SETTINGS, smallest_rate=rate)
    assert isinstance(chosen, NotEnough)
    assert reason in chosen.reason


def test_nothing_left_to_judge_by_is_an_outcome_too():
    settings = RetrainSettings(min_photos=100, held_out_share=1e-6)
    chosen = select(people(200, 40), settings, smallest_rate=0.02)
    assert isinstance(chosen, NotEnough)
    assert chosen.reason == "0 photographs for held_out, of 20 needed"
