"""Untrusted bytes -> pixels, or a `RejectedUpload` with a reason. Nothing else escapes.

The first bytes choose the one Pillow plugin that may look at the rest. Costs are capped from headers before anything
is decoded, and a decoder that takes more memory than its header made us expect runs into a bound. A JPEG is first
reduced to the segments that make up its picture (`jpeg_picture`): Pillow then meets no metadata, no second picture and
no tail.

Pixels are those of the file: no ICC profile is applied, nothing is resized, EXIF orientation is not followed (a HEIC
container's own `irot` is: libheif knows no other way). Of an animation or a multi-page file the first frame counts.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CDLL
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pillow_heif
from PIL import Image

from pipeline import memory
from pipeline.errors import RejectedUpload, RejectReason
from pipeline.records import DecodedImage
from pipeline.settings import LimitSettings

MAX_JPEG_SCANS = 100
"""Progressive encoders write about ten; the cost of decoding is scans x pixels, whatever the file's size."""

_STRIP = 32
"""Rows copied at once out of Pillow's memory."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_NEUTRAL_BRANDS = {b"mif1", b"msf1"}  # may hold either; the compatible brands say which

_METADATA_WARNINGS = (
    r"Metadata Warning|Tag offset too large|Tag data larger than file|Possibly corrupt EXIF|Corrupt EXIF"
    r"|Truncated File Read|Invalid APNG"
)
"""Warnings of Pillow that concern a tag, not the picture. Every other warning is an error here."""

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    BufferError,
    EOFError,
    MemoryError,
    RuntimeError,
    Warning,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's plugins were seen to raise for bad bytes. Spelled out, so that a task's time limit passes through."""


def decode(content: bytes, limits: LimitSettings) -> DecodedImage:
    """Decode an upload to uint8 RGB, (height, width, 3).

    Raises:
        RejectedUpload: `empty`, `too_large`, `unsupported_format`, `too_many_pixels`, `truncated` or `corrupt`.
    """
    if not content:
        raise RejectedUpload(RejectReason.EMPTY)
    if len(content) > limits.max_bytes:
        raise RejectedUpload(RejectReason.TOO_LARGE, f"{len(content)} bytes, {limits.max_bytes} allowed")
    format = sniff(content)
    if format is None:
        raise RejectedUpload(RejectReason.UNSUPPORTED_FORMAT, "first bytes of no allowed image format")
    with _decoder_errors_rejected(), memory.at_most(limits.decode_memory):
        if format == "JPEG":
            return DecodedImage(_decode_jpeg(content, limits), format)
        return DecodedImage(_pixels(content, format, limits), format)


def sniff(content: bytes) -> str | None:
    """Pillow's name of the format that the first bytes announce, or None if it is not on the allow-list."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if content[4:8] == b"ftyp":
        return _sniff_isobmff(content)
    return None


def _sniff_isobmff(content: bytes) -> str | None:
    """HEIF, AVIF or None, by the brands of the `ftyp` box (ISO/IEC 14496-12, 4.3)."""
    size = min(int.from_bytes(content[:4], "big"), 1024)
    major = content[8:12]
    brands = {content[i : i + 4] for i in range(16, size, 4)} if major in _NEUTRAL_BRANDS else {major}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIF_BRANDS:
        return "HEIF"
    return None


@contextmanager
def _decoder_errors_rejected() -> Iterator[None]:
    # Warnings filters belong to the process: this is for worker processes, which decode one image at a time.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=_METADATA_WARNINGS, category=UserWarning)
        try:
            yield
        except DECODER_ERRORS as error:
            detail = f"{type(error).__name__}: {error}"[:200]
            truncated = isinstance(error, EOFError) or "truncated" in str(error).lower()
            raise RejectedUpload(RejectReason.TRUNCATED if truncated else RejectReason.CORRUPT, detail) from error


def _pixels(content: bytes, format: str, limits: LimitSettings) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if format == "HEIF":
        register_heif()
    with Image.open(io.BytesIO(content), formats=[format]) as image:
        _refuse_over(image.width, image.height, limits)
        if format == "TIFF":
            _check_tiff(image, limits)
        loaded = _frame(image) if format in ("WEBP", "AVIF") else image
        loaded.load()
    del image
    _refuse_over(loaded.width, loaded.height, limits)  # pillow-heif corrects a size that the container misstates
    return _array(loaded)


def _refuse_over(width: int, height: int, limits: LimitSettings) -> None:
    if width * height > limits.max_pixels:
        detail = f"{width}x{height}, {limits.max_pixels} pixels allowed"
        raise RejectedUpload(RejectReason.TOO_MANY_PIXELS, detail)


def _frame(image: Image.Image) -> Image.Image:
    """The first frame of a WebP or AVIF, straight from the decoder that Pillow's plugin holds: `load` would copy it
    twice, with the decoder's own canvases (two for a WebP) still there: 16 bytes a pixel."""
    plugin = cast(Any, image)
    if image.format == "WEBP":
        mode, (pixels, _) = plugin.rawmode, plugin._decoder.get_next()
    else:
        mode, (pixels, *_) = image.mode, plugin._decoder.get_frame(0)
    return Image.frombuffer(mode, image.size, pixels, "raw", mode, 0, 1)


def _array(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The image's pixels as `to_rgb` gives them, strip by strip: each fits a core's cache (ADR 7), and no whole copy
    of another mode lies beside the image."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        bottom = min(top + _STRIP, image.height)
        pixels[top:bottom] = np.asarray(to_rgb(image.crop((0, top, image.width, bottom))))
    pixels.flags.writeable = False
    return pixels


@cache
def register_heif() -> None:
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _check_tiff(image: Image.Image, limits: LimitSettings) -> None:
    """Refuse camera raw, and tiles that are larger than any picture that is allowed: each is decoded whole."""
    _silence_libtiff()
    tags = getattr(image, "tag_v2", {})
    new_subfile_type, tile_width, tile_length, dng_version = 254, 322, 323, 50706
    # DNG, NEF and their like are TIFFs whose first picture is a thumbnail: scoring that would answer for another.
    if tags.get(new_subfile_type, 0) & 1 or dng_version in tags:
        raise RejectedUpload(RejectReason.UNSUPPORTED_FORMAT, "camera raw")
    _refuse_over(tags.get(tile_width, 0), tags.get(tile_length, 0), limits)


@cache
def _silence_libtiff() -> None:
    """libtiff writes what it thinks of a file straight to stderr, between the lines of the log; Pillow lets it."""
    maps = Path("/proc/self/maps").read_text()
    for path in set(re.findall(r"/.*/libtiff.*", maps)):
        library = CDLL(path)
        library.TIFFSetWarningHandler(None)
        library.TIFFSetErrorHandler(None)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB, 8 bits a channel. 16-bit grey keeps its upper byte; alpha is composited over white, because the pixels
    that a viewer never sees must not decide.

    Raises:
        RejectedUpload: `unsupported_format` for LAB, 32-bit integer and floating-point pictures.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("LAB", "I", "F"):
        raise RejectedUpload(RejectReason.UNSUPPORTED_FORMAT, f"pixel mode {image.mode}")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


# JPEG ----------------------------------------------------------------------------------------------------------------

_TEM, _SOI, _EOI, _SOS = 0x01, 0xD8, 0xD9, 0xDA  # TEM and SOI carry no length
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""A marker, over any fill bytes, stuffed zeros and restart markers before it (ITU-T T.81, B.1.1)."""
_METADATA_MARKERS = {0xFE, *range(0xE1, 0xF0)} - {0xEE}
"""COM and APP1-APP15, but for APP14 (Adobe), which says how the channels are coded. APP0 is JFIF."""


def jpeg_picture(content: bytes) -> tuple[bytes, bool]:
    """The segments of a JPEG's first picture without metadata, and whether its end-of-image marker is there.

    Raises:
        RejectedUpload: `truncated` where a segment runs over the end; `corrupt` over `MAX_JPEG_SCANS`.
    """
    kept, position, scans, in_scan = [b"\xff\xd8"], 2, 0, False
    while marker := _MARKER.search(content, position):
        if in_scan:
            kept.append(content[position : marker.start()])  # entropy-coded data; elsewhere it would be junk
        code, position = marker[1][0], marker.end()
        if code == _EOI:
            return b"".join([*kept, b"\xff\xd9"]), True
        if code not in (_TEM, _SOI):
            position += int.from_bytes(content[position : position + 2], "big")
        if not marker.end() <= position <= len(content):
            raise RejectedUpload(RejectReason.TRUNCATED, f"segment {code:02x} runs over the end")
        if code not in _METADATA_MARKERS:
            kept.append(content[marker.start() : position])
        in_scan = code == _SOS
        scans += in_scan
        if scans > MAX_JPEG_SCANS:
            raise RejectedUpload(RejectReason.CORRUPT, f"more than {MAX_JPEG_SCANS} scans")
    return b"".join([*kept, content[position:]] if in_scan else kept), False


def _decode_jpeg(content: bytes, limits: LimitSettings) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture, ended = jpeg_picture(content)
    if ended:
        return _pixels(picture, "JPEG", limits)
    # Given an end marker, libjpeg paints whatever is missing. So two different ends are given: where only the marker
    # was lost, the pixels depend on neither.
    pixels = _pixels(picture + b"\xff\xd9", "JPEG", limits)
    if not np.array_equal(pixels, _pixels(picture + b"\x55" * 64 + b"\xff\xd9", "JPEG", limits)):
        raise RejectedUpload(RejectReason.TRUNCATED, "image data ends early")
    return pixels
