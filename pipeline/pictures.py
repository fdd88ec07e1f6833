"""Pixels -> the pictures that people look at, always re-encoded by us: no upload's bytes ever reach a browser.

All are turned as the header's Orientation says, so that they lie exactly on one another.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.heatmap import MAX_SIDE, tints
from pipeline.records import PATCH_SIZE, DecodedImage, Score

THUMB_SIDE = 256
"""Longer side of a thumbnail, px."""

BLURRED_SIDE = 64
"""Longer side of what is shown until somebody wants to see more, px. A browser enlarges it faster than it blurs."""

BLUR = 1 / 50
"""Standard deviation of that Gaussian blur, as a share of the longer side."""

PDQ_SIDE = 512
"""What PDQ looks at: its authors make every image so small first."""

MIN_PDQ_QUALITY = 50
"""0-100. Hashes of images with less detail agree by chance; PDQ's authors advise to throw them away."""

_STRIP = 512
"""Rows that are filtered at once: wider copies of 50 megapixels would not fit beside the image."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF Orientation -> what undoes it; 1 and unknown values undo nothing."""


class Picture(StrEnum):
    THUMB = "thumb"
    BLURRED = "blurred"
    """To be shown enlarged in place of `view`: what it is of can be guessed at most."""
    VIEW = "view"
    """Longer side at most 1600 px."""
    FULL = "full"
    """Pixel for pixel."""
    RESIDUAL = "residual"
    """Pixel for pixel: bright where a high-pass filter finds much, which is where the networks look."""
    HEAT = "heat"
    """To be laid over `view`: patches in colour, all else transparent."""


def orientation_of(format: str | None, tags: Mapping[str, str | float | int]) -> int:
    """How a decoded image is to be turned: EXIF's Orientation (1-8), given its header's tags.

    libheif has turned HEIF images already, as their container says.
    """
    said = tags.get("Orientation", 1)
    return int(said) if said in _TURNS and format != "HEIF" else 1


def draw(image: DecodedImage, orientation: int) -> dict[Picture, bytes]:
    """Every picture that needs only the pixels, as JPEG."""
    upright = _turned(Image.fromarray(image.pixels), orientation)
    view = _shrunk(upright, MAX_SIDE)
    thumb = _shrunk(view, THUMB_SIDE)
    return {
        Picture.THUMB: _jpeg(thumb, quality=85),
        Picture.BLURRED: _jpeg(_blurred(_shrunk(thumb, BLURRED_SIDE)), quality=85),
        Picture.VIEW: _jpeg(view, quality=90),
        Picture.FULL: _jpeg(upright, quality=95, subsampling=0),
        Picture.RESIDUAL: _jpeg(_turned(Image.fromarray(residual(image.pixels)), orientation), quality=85),
    }


def draw_heat(score: Score, width: int, height: int, orientation: int) -> bytes:
    """The patches as a PNG of `view`'s size; `width` and `height` are those of the decoded image, px."""
    scale = min(1.0, MAX_SIDE / max(width, height))
    size = _size(width, height, MAX_SIDE)
    overlay = np.zeros((size[1], size[0], 4), np.uint8)
    for (y, x), tint in zip(score.patch_corners, tints(score), strict=True):
        top, left, bottom, right = (round(scale * edge) for edge in (y, x, y + PATCH_SIZE, x + PATCH_SIZE))
        overlay[top:bottom, left:right] = [*tint, 255]
    file = io.BytesIO()
    _turned(Image.fromarray(overlay), orientation).save(file, "PNG")
    return file.getvalue()


def residual(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How strongly the luma answers to the bank's square 3x3 filter, stretched: 255 is the 99.5th percentile.

    (H, W) uint8; square root, so that weak noise shows beside strong edges.
    """
    luma = np.asarray(Image.fromarray(pixels).convert("L"))
    strength = np.empty(luma.shape, np.uint16)  # 4 x the filter's answer, at most 4080
    for top in range(0, len(luma), _STRIP):
        bottom = min(top + _STRIP, len(luma))
        rows = luma[max(top - 1, 0) : bottom + 1]
        edges = (int(top == 0), int(bottom == len(luma))), (1, 1)
        strength[top:bottom] = _square(np.pad(rows, edges, "edge").astype(np.int16))
    most = max(float(np.quantile(strength[::4, ::4], 0.995)), 4.0)
    stretched = 255 * np.sqrt(np.minimum(np.arange(4081) / most, 1))
    return np.asarray(stretched.astype(np.uint8)[strength])


def _square(padded: NDArray[np.int16]) -> NDArray[np.int16]:
    """The filter is the product of two second differences: along the columns, then along the rows."""
    down = padded[:-2] - 2 * padded[1:-1] + padded[2:]
    return np.asarray(np.abs(down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]))


def pdq(image: DecodedImage) -> str | None:
    """PDQ hash as 256 characters `0` and `1`; None for an image with too little in it to be known again by."""
    small = np.asarray(_shrunk(Image.fromarray(image.pixels), PDQ_SIDE))
    bits, quality = pdqhash.compute(np.ascontiguousarray(small))
    return "".join("1" if bit else "0" for bit in bits) if quality >= MIN_PDQ_QUALITY else None


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height once the image is turned."""
    return (height, width) if orientation >= 5 else (width, height)


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def _size(width: int, height: int, longer_side: int) -> tuple[int, int]:
    scale = min(1.0, longer_side / max(width, height))
    return max(1, round(scale * width)), max(1, round(scale * height))


def _shrunk(picture: Image.Image, longer_side: int) -> Image.Image:
    size = _size(picture.width, picture.height, longer_side)
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _blurred(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(BLUR * max(picture.size)))


def _jpeg(picture: Image.Image, *, quality: int, subsampling: int = 2) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()
