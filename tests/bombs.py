"""Makers of small files that ask for much: memory, time, or a walk in circles."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from tests import images

SIGNATURE = b"\x89PNG\r\n\x1a\n"


# PNG -----------------------------------------------------------------------------------------------------------------


def png_flat(side: int) -> bytes:
    """A sound picture of one bit a pixel: a thousandth of what it decodes to."""
    return images.encode(Image.new("1", (side, side)), "PNG")


def png_with(chunk: bytes) -> bytes:
    """A sound picture with one chunk more, after its header."""
    sound = images.png()
    return sound[:33] + chunk + sound[33:]


def inflating(kind: bytes, head: bytes, megabytes: int = 100) -> bytes:
    """A chunk whose zlib stream inflates to `megabytes`."""
    return images.png_chunk(kind, head + zlib.compress(b"\0" * (megabytes << 20), 1))


def declared(kind: bytes, length: int) -> bytes:
    """A chunk that says it is longer than the file."""
    return struct.pack(">I", length) + kind + b"Comment\0x"


def apng(frames: int) -> bytes:
    """An animation of one frame, over and over."""
    side = 64
    row = b"\0" + images.photo(1, side).tobytes()
    picture = zlib.compress(row * side)
    control = struct.pack(">IIIIHHBB", side, side, 0, 0, 1, 10, 0, 0)
    chunks = [
        images.png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        images.png_chunk(b"acTL", struct.pack(">II", frames, 0)),
        images.png_chunk(b"fcTL", struct.pack(">I", 0) + control),
        images.png_chunk(b"IDAT", picture),
    ]
    for number in range(1, 2 * frames - 1, 2):
        chunks.append(images.png_chunk(b"fcTL", struct.pack(">I", number) + control))
        chunks.append(images.png_chunk(b"fdAT", struct.pack(">I", number + 1) + picture))
    return SIGNATURE + b"".join(chunks) + images.png_chunk(b"IEND", b"")


# JPEG, WebP, AVIF, HEIF ----------------------------------------------------------------------------------------------


def jpeg_segments(count: int, marker: int = 0xE1, head: bytes = b"Exif\0\0") -> bytes:
    """A sound picture behind `count` metadata segments of 64 KiB."""
    sound = images.camera_jpeg()
    segment = bytes([0xFF, marker]) + struct.pack(">H", 65535) + head.ljust(65533, b"\x2a")
    return sound[:2] + segment * count + sound[2:]


def animation(format: str, frames: int, side: int = 64) -> bytes:
    """Frames that all differ."""
    first, *others = (Image.fromarray(images.photo(side, side, seed)) for seed in range(frames))
    options = {"speed": 10} if format == "AVIF" else {}
    return images.encode(first, format, save_all=True, append_images=others, **options)


def heif_items(count: int) -> bytes:
    """A sound picture whose directory lists `count` items more."""
    content = images.encode(images.photo(), "HEIF")
    meta, listing = content.index(b"meta") - 4, content.index(b"iinf") - 4
    first = content.index(b"infe") - 4
    entry = b"".join(
        struct.pack(">I4sIHH4sx", 21, b"infe", 2 << 24, 1000 + n % 60000, 0, b"hvc1") for n in range(count)
    )
    (was,) = struct.unpack(">H", content[first - 2 : first])
    grown = bytearray(content[:first] + entry + content[first:])
    grown[first - 2 : first] = struct.pack(">H", min(was + count, 65535))
    for box in (meta, listing):
        (size,) = struct.unpack(">I", content[box : box + 4])
        grown[box : box + 4] = struct.pack(">I", size + len(entry))
    return bytes(grown)


def misstated_size(format: str, stated: tuple[int, int], side: int = 600) -> bytes:
    """An AVIF or HEIF of `side` x `side` whose container says otherwise."""
    picture = np.full((side, side, 3), 128, np.uint8)
    content = images.encode(picture, format, **({"speed": 10} if format == "AVIF" else {}))
    size = b"ispe\0\0\0\0" + struct.pack(">II", side, side)
    if size not in content:
        raise ValueError(f"{format} is written otherwise than thought")
    return content.replace(size, size[:8] + struct.pack(">II", *stated))


# TIFF ----------------------------------------------------------------------------------------------------------------


def tiff(tags: Iterable[tuple[int, int, int, int]], data: bytes = b"", next_directory: int = 0) -> bytes:
    """Little-endian: header, `data` at byte 8, one directory of (tag, type, count, value) in the order given."""
    entries = [struct.pack("<HHII", *tag) for tag in tags]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", next_directory)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def tiff_tags(width: int, height: int, size: int) -> list[tuple[int, int, int, int]]:
    """Of a grey picture without compression, in one strip at byte 8."""
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, size),
    ]  # fmt: skip


def tiff_tile(side: int) -> bytes:
    """A picture of 96 x 64 in one deflated tile of `side` x `side`."""
    data = zlib.compress(b"\0" * side * side, 1)
    tags = [(256, 4, 1, 96), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    return tiff([*tags, (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, len(data))], data)


def tiff_circle(*pointers: int) -> bytes:
    """A sound picture whose next directory, or whose sub-directory by each of these tags, is the directory itself."""
    data = images.photo(96, 128)[..., 0].tobytes()
    here = 8 + len(data)
    tags = [*tiff_tags(128, 96, len(data)), *((tag, 4, 1, here) for tag in pointers)]
    return tiff(sorted(tags), data, next_directory=0 if pointers else here)


def tiff_broken_tags(count: int) -> bytes:
    """A sound picture with `count` tags whose values lie outside of the file."""
    data = images.photo(96, 128)[..., 0].tobytes()
    broken = [(number, 2, 1000, 0xFFFFFF00) for number in range(40000, 40000 + count)]
    return tiff([*tiff_tags(128, 96, len(data)), *broken], data)
