"""DecodedImage -> p-value at half its size, and what both looks say together (ADR 18).

Making an image smaller does not change who formed it. So what is said of it must hold for it at half its size, too:
where the two looks contradict each other, nobody can say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pipeline.patches import JPEG_GRID, NotApplicable, cut
from pipeline.ports import Detector, OneClassScorer
from pipeline.records import DOUBT, DecodedImage, ExifFacts, ModelVersion, Score
from pipeline.statistics import describe

SIDE = 1024
"""px of the middle that is made smaller, so that the cost does not grow with the image: 64 cells at half the size."""

AGREES = 5
"""How much larger than at full size a p-value at half of it may be."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """The same detector, asked about the same image made smaller."""

    detector: Detector
    patch_budget: int
    """Of the first look; the second takes half as many."""

    def p_value(self, image: DecodedImage, model: ModelVersion, scorer: OneClassScorer) -> float | None:
        """Of `image` at half its size, among photographs that look handled as it does then; None where nothing can be
        asked about that (`NotApplicable`).

        Raises:
            DetectorUnavailable: the detector failed; worth another try.
        """
        try:
            patches = cut(half_size(image), math.ceil(self.patch_budget / 2))
        except NotApplicable:
            return None
        output = self.detector.detect(patches, model)
        no_header = ExifFacts({}, "pillow")  # it has no say in the p-value
        return scorer.score(output, patches, describe(patches.pixels), no_header).p_value


def half_size(image: DecodedImage) -> DecodedImage:
    """The middle of `image`, at most `SIDE` px, half as high and as wide: a PNG, for it was not compressed again. Its
    patches lie where those of the whole image at half its size could lie."""
    top, left = (max(0, side - SIDE) // 2 // (2 * JPEG_GRID) * 2 * JPEG_GRID for side in image.pixels.shape[:2])
    middle = image.pixels[top : top + SIDE, left : left + SIDE]
    height, width = (max(1, side // 2) for side in middle.shape[:2])
    even = Image.fromarray(middle[: 2 * height, : 2 * width])  # else rows of pixels would drift against the grid
    return DecodedImage(np.asarray(even.resize((width, height), Image.Resampling.BICUBIC)), "PNG")


def both(score: Score, half_size_p_value: float | None) -> Score:
    """`score` with what the second look found.

    By the usual thresholds (2 % and 10 %), what is `not_camera` must not be `camera` at half the size, so a small
    p-value counts for a fifth of the second at least. It is a p-value still, for none gets smaller.
    """
    if half_size_p_value is None:
        return score
    p_value = score.full_size_p_value
    if p_value <= DOUBT:
        p_value = max(p_value, half_size_p_value / AGREES)
    return replace(score, p_value=p_value, half_size_p_value=half_size_p_value)
