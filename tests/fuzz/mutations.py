"""Damage to image files: bits, ends, lengths, and the order of their parts."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from pipeline.decode import sniff

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(content: bytes, random: Random) -> bytes:
    """The file with one piece of damage."""
    if not content:
        return content
    damage: Callable[[bytes, Random], bytes] = random.choice([flip, cut, number, number, shuffle, repeat])
    return damage(content, random)


def flip(content: bytes, random: Random) -> bytes:
    """One to eight bits, mostly among the first bytes."""
    damaged = bytearray(content)
    for _ in range(random.randint(1, 8)):
        damaged[int(random.random() ** 2 * len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def number(content: bytes, random: Random) -> bytes:
    """A length, a count, an offset or a size becomes an extreme one, in either byte order."""
    place, form = random.randrange(len(content)), random.choice(["<H", ">H", "<I", ">I"])
    size = struct.calcsize(form)
    value = random.choice([*EXTREMES, len(content)]) % (1 << 8 * size)
    return content[:place] + struct.pack(form, value) + content[place + size :]


def shuffle(content: bytes, random: Random) -> bytes:
    """Parts (segments, chunks, boxes) in another order; the first stays."""
    first, *others = parts(content)
    random.shuffle(others)
    return b"".join([first, *others])


def repeat(content: bytes, random: Random) -> bytes:
    """One part many times."""
    found = parts(content)
    found.insert(random.randrange(1, len(found) + 1), random.choice(found) * random.choice([1, 2, 300]))
    return b"".join(found)


def parts(content: bytes) -> list[bytes]:
    """Where the format's structure lets the file be cut; pieces of 64 bytes where it has none (TIFF) or is broken."""
    read = {"JPEG": _segment, "PNG": _chunk, "WEBP": _riff, "HEIF": _box, "AVIF": _box}.get(sniff(content) or "")
    start = {"JPEG": 2, "PNG": 8, "WEBP": 12}.get(sniff(content) or "", 0)
    found, place = [content[:start]] if start else [], start
    while place < len(content):
        end = read(content, place) if read else place + 64
        found.append(content[place : max(end, place + 1)])
        place = max(end, place + 1)
    return found


def _segment(content: bytes, place: int) -> int:
    next_marker = content.find(b"\xff", place + 2 + int.from_bytes(content[place + 2 : place + 4], "big"))
    return next_marker if next_marker > 0 else len(content)


def _chunk(content: bytes, place: int) -> int:
    return place + 12 + int.from_bytes(content[place : place + 4], "big")


def _riff(content: bytes, place: int) -> int:
    length = int.from_bytes(content[place + 4 : place + 8], "little")
    return place + 8 + length + length % 2


def _box(content: bytes, place: int) -> int:
    return place + int.from_bytes(content[place : place + 4], "big")
