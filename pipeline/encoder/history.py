"""What may have befallen an image since it was made, drawn at random: for the read-out, and for its calibration.

Real and AI images get the same: a history must not give away which one it is.
"""

import io

import numpy as np
from PIL import Image, ImageFilter

from pipeline.records import DecodedImage, Handling

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


def random_history(image: DecodedImage, random: np.random.Generator) -> tuple[DecodedImage, Handling]:
    """The same picture as it may reach us, and how it was handled; its size changes where it is resized.

    Its format is the one that it was saved in last. What was handled and is not compressed again is a PNG.
    """
    changed, handling, format = Image.fromarray(image.pixels), Handling.AS_MADE, image.format
    if random.random() < HANDLED:
        changed, handling = _handled(changed, random)
        format = "PNG"
    changed, saved_as = _saved(changed, random)
    return DecodedImage(np.asarray(changed), saved_as or format), handling


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


def _saved(image: Image.Image, random: np.random.Generator) -> tuple[Image.Image, str | None]:
    """And the format, None where it is not compressed again."""
    draw, quality = random.random(), int(random.integers(QUALITIES[0], QUALITIES[1] + 1))
    buffer = io.BytesIO()
    if draw < SAVED_AS_JPEG:
        image.save(buffer, "JPEG", quality=quality, subsampling=int(random.integers(3)))
    elif draw < SAVED_AS_JPEG + SAVED_AS_WEBP:
        image.save(buffer, "WEBP", quality=quality)
    else:
        return image, None
    saved = Image.open(buffer)
    return saved.convert("RGB"), saved.format
