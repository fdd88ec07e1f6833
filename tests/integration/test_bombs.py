"""Files that ask for much get their answer within little: megabytes beyond what the process holds, and CPU time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from pipeline import memory
from pipeline.adapters.exiftool import ExifToolReader
from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.decode import decode, sniff
from pipeline.errors import RejectedUpload
from pipeline.provenance import find_claims
from pipeline.settings import LimitSettings
from tests import bombs, images
from tests.measures import peak_memory

MIB = 1 << 20
BOMBS: dict[str, tuple[Callable[[], bytes], str, int]] = {
    # name: maker, outcome, MiB that it may take
    "49 MP in 6 KB": (lambda: bombs.png_flat(7000), "pixels", 250),
    "60000 x 60000 declared": (lambda: images.png_header_only(60_000, 60_000), "corrupt", 20),
    "text that inflates": (images.png_text_bomb, "corrupt", 20),
    "international text that inflates": (
        lambda: bombs.png_with(bombs.inflating(b"iTXt", b"Comment\0\1\0\0\0")), "corrupt", 20,
    ),
    "colour profile that inflates": (lambda: bombs.png_with(bombs.inflating(b"iCCP", b"icc\0\0")), "corrupt", 20),
    "text of 100 MB declared": (lambda: bombs.png_with(bombs.declared(b"tEXt", 100 * MIB)), "truncated", 20),
    "text of 2 GB declared": (lambda: bombs.png_with(bombs.declared(b"zTXt", 2**31 - 1)), "truncated", 20),
    "EXIF of 30 MB in a PNG": (
        lambda: bombs.png_with(images.png_chunk(b"eXIf", b"MM\0*" * (30 * MIB // 4))), "pixels", 120,
    ),
    "animated PNG of 5,000 frames": (lambda: bombs.apng(5000), "pixels", 20),
    "JPEG of 500 scans": (images.jpeg_scan_bomb, "corrupt", 20),
    "30 MB of EXIF segments": (lambda: bombs.jpeg_segments(480), "pixels", 120),
    "30 MB of XMP segments": (
        lambda: bombs.jpeg_segments(480, head=b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta"), "pixels", 120,
    ),
    "16 MB of colour profile": (lambda: images.jpeg(icc_profile=b"\x2a" * 16_000_000), "pixels", 120),
    "20 MB of XMP in a WebP": (lambda: images.encode(images.photo(), "WEBP", xmp=b"<x>" * 7_000_000), "pixels", 120),
    "animated WebP of 500 frames": (lambda: bombs.animation("WEBP", 500), "pixels", 20),
    "AVIF sequence of 100 frames": (lambda: bombs.animation("AVIF", 100), "pixels", 40),
    "AVIF of another size than it says": (lambda: bombs.misstated_size("AVIF", (96, 64)), "pixels", 60),
    "HEIF smaller than it is": (lambda: bombs.misstated_size("HEIF", (96, 64)), "corrupt", 60),
    "HEIF larger than it is": (lambda: bombs.misstated_size("HEIF", (6000, 6000)), "corrupt", 60),
    "HEIF of 60,000 items": (lambda: bombs.heif_items(60_000), "corrupt", 80),
    "TIFF of one tile of 67 MP": (lambda: bombs.tiff_tile(8192), "too_many_pixels", 20),
    "TIFF whose next directory is itself": (bombs.tiff_circle, "pixels", 20),
    "TIFF whose EXIF directory is itself": (lambda: bombs.tiff_circle(34665), "pixels", 20),
    "TIFF whose sub-directories are itself": (lambda: bombs.tiff_circle(330, 34665, 34853, 40965), "pixels", 20),
    "TIFF of 20,000 broken tags": (lambda: bombs.tiff_broken_tags(20_000), "pixels", 80),
    "TIFF of 300 pages": (lambda: bombs.animation("TIFF", 300, side=16), "pixels", 20),
}  # fmt: skip
CPU_SECONDS = 4.0
"""Of decoding, or of Pillow's reading of the metadata; a busy machine does not change it."""

ANSWERED = 8.0
"""Seconds for ExifTool, its time limit included."""


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """Fails where this process held more than that on top of what it held before."""
    started = time.process_time()
    with peak_memory() as peak:
        yield
    assert peak() <= megabytes * MIB
    assert time.process_time() - started <= CPU_SECONDS


def outcome(content: bytes, limits: LimitSettings) -> str:
    try:
        decode(content, limits)
    except RejectedUpload as error:
        return error.reason.value
    return "pixels"


@pytest.fixture(scope="module")
def exiftool() -> Iterator[ExifToolReader]:
    with ExifToolReader(timeout=5) as reader:
        yield reader


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_answered_cheaply(name: str, exiftool: ExifToolReader):
    make, expected, megabytes = BOMBS[name]
    content = make()
    assert len(content) < 50 * MIB
    outcome(images.png(), LimitSettings())  # what the first picture loads is not this one's fault
    with at_most(megabytes):
        assert outcome(content, LimitSettings()) == expected
    format = sniff(content)
    assert format
    with at_most(megabytes + 100):
        facts, raw = PillowExifReader().read(content, format)
        find_claims(raw)
    assert len(facts.warnings) <= 20
    if shutil.which("exiftool"):
        started = time.monotonic()
        facts, _ = exiftool.read(content, format)
        assert time.monotonic() - started < ANSWERED


def test_a_decoder_that_asks_for_more_than_the_bound_is_refused():
    """Whatever the header made us expect: here the bound is too low for a sound picture."""
    content = bombs.png_flat(7000)
    assert outcome(content, LimitSettings()) == "pixels"
    assert outcome(content, LimitSettings(decode_memory=80 * MIB)) == "corrupt"
    assert outcome(content, LimitSettings()) == "pixels"  # and lifted again


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_no_decoder_crashes_where_memory_ends(format: str):
    content = images.encode(np.full((1500, 1500, 3), 128, np.uint8), format)
    for megabytes in range(1, 40, 4):
        limits = LimitSettings(decode_memory=megabytes * MIB)
        assert outcome(content, limits) in {"pixels", "corrupt", "truncated"}


def test_the_bound_ends_with_its_block():
    more_than_ever_freed = 2048 * MIB  # the allocator gives out again what it has, and asks the kernel for nothing
    with memory.at_most(8 * MIB), pytest.raises(MemoryError):
        np.empty(more_than_ever_freed, np.uint8)
    assert np.empty(more_than_ever_freed, np.uint8).nbytes == more_than_ever_freed
