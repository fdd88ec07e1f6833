"""Makers of small images of all kinds, as pixels and as files."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational


def photo(height: int = 96, width: int = 128, seed: int = 0) -> NDArray[np.uint8]:
    """A gradient with noise: nothing flat, nothing clipped. (height, width, 3)."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(60, 180, height)[:, None, None] + np.linspace(-20, 20, width)[None, :, None]
    return np.clip(ramp + random.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)


def flat(height: int = 96, width: int = 128, level: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, dtype=np.uint8)


def drawing(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """An interface as programs draw it: panels of one colour, frames, and lines of glyph-like strokes."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), (236, 240, 241))
    draw = ImageDraw.Draw(image)
    for top in range(0, height, 96):
        for left in range(0, width, 120):
            shade = tuple(int(level) for level in random.integers(40, 220, 3))
            draw.rectangle((left, top, left + 100, top + 80), fill=shade, outline=(20, 20, 20))
            for stroke in random.integers(4, 96, 8):
                draw.line((left + int(stroke), top + 8, left + int(stroke) + 3, top + 18), fill=(245, 245, 245))
    return np.array(image)


def encode(pixels: NDArray[Any] | Image.Image, format: str, **options: Any) -> bytes:
    """The file, by Pillow's name of the format and its options for saving."""
    if format == "HEIF":
        pillow_heif.register_heif_opener()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def jpeg(pixels: NDArray[Any] | None = None, **options: Any) -> bytes:
    return encode(photo() if pixels is None else pixels, "JPEG", **{"quality": 90, **options})


def png(pixels: NDArray[Any] | None = None, text: dict[str, str] | None = None, **options: Any) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    return encode(photo() if pixels is None else pixels, "PNG", pnginfo=info, **options)


def exif(make: str = "Lenswatch", model: str = "TestCam", **tags: Any) -> bytes:
    """An EXIF block; `tags` by Pillow's names (`FNumber=2.8`, `ISOSpeedRatings=100`, ...)."""
    numbers = {name: number for number, name in ExifTags.TAGS.items()}
    block = Image.Exif()
    block[ExifTags.Base.Make], block[ExifTags.Base.Model] = make, model
    camera = block.get_ifd(ExifTags.IFD.Exif)
    for name, value in tags.items():
        target = block if name in ("Orientation", "Software", "DateTime") else camera
        # Left to itself, Pillow writes a float as a double, which EXIF does not know.
        target[numbers[name]] = IFDRational(Fraction(value).limit_denominator(10**6)) if type(value) is float else value
    return block.tobytes()


def camera_jpeg(make: str = "Lenswatch", model: str = "TestCam", seed: int = 0, **tags: Any) -> bytes:
    """A JPEG with a camera's EXIF."""
    return jpeg(photo(seed=seed), exif=exif(make, model, **tags))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims its size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


def png_text_bomb(megabytes: int = 100) -> bytes:
    """A PNG whose text chunk inflates to `megabytes`."""
    sound = png()
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * (megabytes << 20)))
    return sound[:33] + text + sound[33:]  # after IHDR


def jpeg_scan_bomb(scans: int = 500) -> bytes:
    """A progressive JPEG that repeats one scan."""
    sound = encode(photo(256, 256), "JPEG", progressive=True)
    last = sound.rindex(b"\xff\xda")
    return sound[:last] + sound[last:-2] * scans + b"\xff\xd9"
