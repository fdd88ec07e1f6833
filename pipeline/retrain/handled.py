"""Photographs after random histories -> how an image was handled, told from its statistics (ADR 8, 20).

From as many patches as an upload has: what statistics say depends on their number, and crops that are made smaller
have few, so that "few patches" would be learned instead of "made smaller". So all crops of a photograph are looked at
together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pipeline.patches import NotApplicable, cut_together
from pipeline.read_out import ReadOut
from pipeline.records import DecodedImage, Handling
from pipeline.retrain.described import Described, History
from pipeline.statistics import describe
from pipeline.windows import TOGETHER

HISTORIES = 4
"""Random ones of each photograph, beside itself as found."""

LEAST_PATCHES = TOGETHER // 2
"""Of a version: what fewer say is another thing than what an upload's patches say."""

STRENGTH = 0.003
"""Inverse of the logistic regression's L2 penalty."""


@dataclass(frozen=True, slots=True)
class Handled:
    """m versions of photographs, each described by up to a window of patches."""

    statistics: NDArray[np.float32]
    """(m, D)"""
    handling: NDArray[np.int64]
    """(m,): `Handling` by the history that was drawn; what befell the file before is not known."""
    held_out: NDArray[np.bool_]
    """(m,)"""


@dataclass(frozen=True, slots=True)
class Photograph:
    crops: tuple[DecodedImage, ...]
    """That share no pixel."""
    held_out: bool


def describe_handled(
    photographs: Iterable[Photograph],
    history: History,
    *,
    seed: int = 0,
    track: Callable[[Iterable[Photograph]], Iterable[Photograph]] = iter,
) -> Handled:
    """Each photograph as found and after `HISTORIES`, the same for all its crops. `track` may draw a progress bar.

    Raises ValueError where no photograph has enough patches.
    """
    rows = [
        (statistics, handling, photograph.held_out)
        for number, photograph in enumerate(track(photographs))
        for statistics, handling in _versions(photograph.crops, history, (seed, number))
    ]
    if not rows:
        raise ValueError(f"no photograph has {LEAST_PATCHES} patches or more: nothing says how images were handled")
    statistics, handling, held_out = zip(*rows, strict=True)
    return Handled(np.array(statistics), np.array(handling, dtype=np.int64), np.array(held_out))


def _versions(
    crops: Sequence[DecodedImage], history: History, seed: tuple[int, int]
) -> Iterable[tuple[NDArray[np.float32], Handling]]:
    versions = [(list(crops), Handling.AS_MADE)]
    for version in range(HISTORIES):
        after = [history(crop, np.random.default_rng((*seed, version))) for crop in crops]
        versions.append(([image for image, _ in after], after[0][1]))
    for images, handling in versions:
        try:
            patches = cut_together(images, TOGETHER).pixels
        except NotApplicable:
            continue
        if len(patches) >= LEAST_PATCHES:
            yield describe(patches), handling


def fit_handling(handled: Handled, generated: Described, read_out: ReadOut) -> NDArray[np.float64]:
    """`ReadOut.handling`, from photographs that are not held out; every kind weighs alike.

    Of `generated`, AI images that are not held out teach it as well, as found and re-encoded, that they are as made.
    Nobody knows what befell them before. But what photographs alone teach takes the detail of generated images for that
    of photographs made smaller, and would judge them among those. A stratum's promise is to photographs, whatever else
    falls into it.
    """
    photographs = ~handled.held_out
    ai = generated.statistics[generated.is_ai & ~generated.held_out, :2]
    ai = ai.reshape(-1, ai.shape[-1])
    statistics = np.concatenate([handled.statistics[photographs], ai])
    kinds = np.concatenate([handled.handling[photographs], np.full(len(ai), Handling.AS_MADE)])
    standardised = (statistics - read_out.mean) / read_out.scale
    model = LogisticRegression(C=STRENGTH, max_iter=400, class_weight="balanced").fit(standardised, kinds)
    fitted = np.zeros((standardised.shape[1] + 1, len(Handling)))
    fitted[:-1, model.classes_], fitted[-1, model.classes_] = model.coef_.T, model.intercept_
    return fitted


def handling_shares(handled: Handled, read_out: ReadOut) -> dict[str, dict[str, float]]:
    """Of held-out photographs of each `Handling`, the share that is called each."""
    kinds = handled.handling[handled.held_out]
    called = read_out.handling_probabilities(handled.statistics[handled.held_out]).argmax(-1)
    return {
        kind.name.lower(): {
            as_.name.lower(): round(float((called[kinds == kind] == as_).mean()), 3) for as_ in Handling
        }
        for kind in Handling
        if (kinds == kind).any()
    }
