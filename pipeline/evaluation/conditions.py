"""What is done to every image, real and AI alike, before it is scored."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageFilter

from pipeline.patches import JPEG_GRID, QUALITY
from pipeline.records import DecodedImage

SIDE = 512
"""Largest side, px, of the crop from the middle in the common re-encoding."""

SCREENSHOT_SCALE = 0.87
"""No simple fraction: what a browser or a phone draws a picture at on its screen rarely is one."""

STANDING = ("as_found", "reencoded")
"""Always measured. The second takes away most of what format and size give away; it is the honest figure."""


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Saved as JPEG 4:2:0 and read back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def _reencode(image: DecodedImage) -> Image.Image:
    """Cut on JPEG's grid, and of what is no JPEG as a JPEG of it: neither may tell what the image is (ADR 19)."""
    whole = Image.fromarray(image.pixels)
    if image.format != "JPEG":
        whole = _jpeg(whole, QUALITY)
    width, height = min(whole.width, SIDE), min(whole.height, SIDE)
    left, top = (rest // 2 // JPEG_GRID * JPEG_GRID for rest in (whole.width - width, whole.height - height))
    return _jpeg(whole.crop((left, top, left + width, top + height)), 90)


def _scale(image: Image.Image, factor: float, filter: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    size = (max(1, int(image.width * factor)), max(1, int(image.height * factor)))
    return image.resize(size, filter)


_AS_JPEG: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "reencoded": lambda image: image,
    "jpeg_95": lambda image: _jpeg(image, 95),
    "jpeg_85": lambda image: _jpeg(image, 85),
    "jpeg_70": lambda image: _jpeg(image, 70),
    "thumbnail": lambda image: _jpeg(_scale(image, 0.5, Image.Resampling.LANCZOS), 85),
}

_AS_PNG: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "half_size": lambda image: _scale(image, 0.5),
    "double_size": lambda image: _scale(image, 2),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "screenshot": lambda image: _scale(image, SCREENSHOT_SCALE),
}

CONDITIONS: tuple[str, ...] = ("as_found", *_AS_JPEG, *_AS_PNG)
"""All but the first two are degradations of the second. The first two are `STANDING`."""


def degrade(image: DecodedImage, condition: str) -> DecodedImage:
    """`image` under one of `CONDITIONS`; a KeyError names an unknown one."""
    if condition == "as_found":
        return image
    change, format = (_AS_PNG[condition], "PNG") if condition in _AS_PNG else (_AS_JPEG[condition], "JPEG")
    return DecodedImage(np.asarray(change(_reencode(image))), format)
