"""What may have befallen an image since it was made, drawn at random: for the read-out, and for its calibration.

Real and AI images get the same: a history must not give away which one it is.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.records import Handling

Pixels = npt.NDArray[np.uint8]

SMALLEST = 64
"""Shortest side, px, that resizing leaves: a patch."""

HANDLED = 0.5
"""Share of images that are resized, blurred or sharpened. The others are saved again at most, as most uploads are."""

RESIZED, BLURRED, SHARPENED = 0.7, 0.4, 0.15
"""Of the handled ones; some of them more than one, in this order."""

ENLARGED, OUT_OF_FOCUS = 1.15, 0.6
"""Scale, and sigma of a blur, above which the finest detail is gone: the image is soft."""

SCALES = (0.4, 2.0)
SIGMAS = (0.4, 1.6)
QUALITIES = (65, 97)
SAVED_AS_JPEG, SAVED_AS_WEBP = 0.7, 0.1
"""Of all; the rest is not compressed again."""

FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.HAMMING, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def random_history(pixels: Pixels, random: np.random.Generator) -> tuple[Pixels, Handling]:
    """The same picture, (h, w, 3), as it may reach us, and how it was handled; h and w change where it is resized."""
    image, handling = Image.fromarray(pixels), Handling.AS_MADE
    if random.random() < HANDLED:
        image, handling = _handled(image, random)
    return np.asarray(_saved(image, random)), handling


def _handled(image: Image.Image, random: np.random.Generator) -> tuple[Image.Image, Handling]:
    resized, blurred, sharpened = (random.random() < share for share in (RESIZED, BLURRED, SHARPENED))
    scale, sigma = 1.0, 0.0
    if resized or not (blurred or sharpened):
        scale = float(np.exp(random.uniform(*np.log(SCALES))))  # down as often as up
        size = (max(SMALLEST, round(image.width * scale)), max(SMALLEST, round(image.height * scale)))
        image = image.resize(size, FILTERS[random.integers(len(FILTERS))])
    if blurred:
        sigma = random.uniform(*SIGMAS)
        image = image.filter(ImageFilter.GaussianBlur(sigma))
    if sharpened:
        image = image.filter(ImageFilter.UnsharpMask(random.uniform(0.5, 2), int(random.integers(40, 150)), 0))
    return image, Handling.SOFT if scale > ENLARGED or sigma > OUT_OF_FOCUS else Handling.HANDLED


def _saved(image: Image.Image, random: np.random.Generator) -> Image.Image:
    draw, quality = random.random(), int(random.integers(QUALITIES[0], QUALITIES[1] + 1))
    buffer = io.BytesIO()
    if draw < SAVED_AS_JPEG:
        image.save(buffer, "JPEG", quality=quality, subsampling=int(random.integers(3)))
    elif draw < SAVED_AS_JPEG + SAVED_AS_WEBP:
        image.save(buffer, "WEBP", quality=quality)
    else:
        return image
    return Image.open(buffer).convert("RGB")
