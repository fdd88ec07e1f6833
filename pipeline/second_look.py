"""DecodedImage -> what there is to see of it, at its size and at half of it (ADR 18, 20).

Making an image smaller does not change who formed it. So what is said of it must hold for it at half its size, too:
where the two looks contradict each other, nobody can say.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.patches import JPEG_GRID, NotApplicable, cut
from pipeline.ports import Detector, OneClassScorer
from pipeline.records import (
    DOUBT,
    DecodedImage,
    DetectorOutput,
    ExifFacts,
    ModelVersion,
    Patches,
    Score,
    Timings,
)
from pipeline.statistics import describe

SIDE = 1024
"""px of the middle that is made smaller, so that the cost does not grow with the image: 64 cells at half the size."""

NO_HEADER = ExifFacts({}, "pillow")
"""Of pixels without their file: a header has no say in a score, it is only compared with what the pixels say."""


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to see of an image at one size."""

    patches: Patches
    output: DetectorOutput
    statistics: NDArray[np.float32]
    """(D,), as by `statistics.describe`."""
    score: Score


@dataclass(frozen=True, slots=True)
class Looking:
    """Looks at images with one model version."""

    detector: Detector
    model: ModelVersion
    scorer: OneClassScorer
    patch_budget: int
    """Of the first look; the second takes half as many."""

    def twice(self, image: DecodedImage, exif: ExifFacts, timings: Timings) -> Look:
        """The first look, with what both say together in its score; the second has no more than a p-value. `timings`
        is added to.

        Raises:
            NotApplicable: the question has no answer for `image`. At half its size alone: there is no second look.
            DetectorUnavailable: the detector failed; worth another try.
        """
        first = self._once(image, self.patch_budget, exif, timings)
        with timed(timings, "second_look"):
            try:
                second = self._once(half_size(image), math.ceil(self.patch_budget / 2), NO_HEADER, {})
            except NotApplicable:
                return first
        return replace(first, score=both(first.score, second.score.full_size_p_value))

    def _once(self, image: DecodedImage, budget: int, exif: ExifFacts, timings: Timings) -> Look:
        with timed(timings, "patches"):
            patches = cut(image, budget)
        with timed(timings, "detect"):
            output = self.detector.detect(patches, self.model)
        with timed(timings, "score"):
            statistics = describe(patches.pixels)
            score = self.scorer.score(output, patches, statistics, exif)
        return Look(patches, output, statistics, score)


@contextmanager
def timed(timings: Timings, stage: str) -> Iterator[None]:
    """Notes the milliseconds of its block, whatever comes of it."""
    started = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = (time.perf_counter() - started) * 1000


def half_size(image: DecodedImage) -> DecodedImage:
    """The middle of `image`, at most `SIDE` px, half as high and as wide: a PNG, for it was not compressed again. Its
    patches lie where those of the whole image at half its size could lie."""
    top, left = (max(0, side - SIDE) // 2 // (2 * JPEG_GRID) * 2 * JPEG_GRID for side in image.pixels.shape[:2])
    middle = image.pixels[top : top + SIDE, left : left + SIDE]
    height, width = (max(1, side // 2) for side in middle.shape[:2])
    even = Image.fromarray(middle[: 2 * height, : 2 * width])  # else rows of pixels would drift against the grid
    return DecodedImage(np.asarray(even.resize((width, height), Image.Resampling.BICUBIC)), "PNG")


def both(score: Score, half_size_p_value: float) -> Score:
    """`score` with what the second look found: strange is what is strange at both sizes (ADR 18, 20).

    So a small p-value is the larger of the two. It is a p-value still, for none gets smaller.
    """
    p_value = score.full_size_p_value
    if p_value <= DOUBT:
        p_value = max(p_value, half_size_p_value)
    return replace(score, p_value=p_value, half_size_p_value=half_size_p_value)
