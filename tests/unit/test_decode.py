"""Untrusted bytes: pixels, or a reason. Never another error."""

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.decode import MAX_JPEG_SCANS, decode, jpeg_picture, sniff
from pipeline.errors import RejectedUpload, RejectReason
from pipeline.settings import LimitSettings
from tests import bombs, images

LIMITS = LimitSettings(max_pixels=1_000_000)


def reason(content: bytes, limits: LimitSettings = LIMITS) -> RejectReason:
    with pytest.raises(RejectedUpload) as caught:
        decode(content, limits)
    return caught.value.reason


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("HEIF", {"quality": -1, "chroma": 444}),
    ],
)
def test_allowed_formats_keep_their_pixels(format, options):
    pixels = images.photo()
    image = decode(images.encode(pixels, format, **options), LIMITS)
    assert image.format == format
    assert image.pixels.dtype == np.uint8
    tolerance = 12 if format in ("AVIF", "HEIF") else 0  # both pass through YCbCr
    assert np.abs(image.pixels.astype(int) - pixels).max() <= tolerance


def test_a_jpeg_decodes_to_what_pillow_decodes_with_metadata_and_all():
    content = images.jpeg(exif=images.exif(Orientation=6), comment=b"hello", progressive=True)
    expected = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(decode(content, LIMITS).pixels, expected)  # and not rotated


@pytest.mark.parametrize("height", [1, 31, 32, 33, 100])
def test_no_row_is_lost_between_strips(height):
    pixels = images.photo(height, 70)
    found = decode(images.png(pixels), LIMITS).pixels
    assert np.array_equal(found, pixels)
    assert not found.flags.writeable


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", RejectReason.EMPTY),
        (b"hello", RejectReason.UNSUPPORTED_FORMAT),
        (images.encode(images.photo(), "GIF"), RejectReason.UNSUPPORTED_FORMAT),
        (images.encode(images.photo(), "BMP"), RejectReason.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", RejectReason.UNSUPPORTED_FORMAT),  # a film
        (b"RIFF\x24\0\0\0WAVEfmt ", RejectReason.UNSUPPORTED_FORMAT),  # a sound
        (images.png_header_only(60_000, 60_000), RejectReason.CORRUPT),  # over Pillow's own limit
        (images.png_header_only(2_000, 2_000), RejectReason.TOO_MANY_PIXELS),
        (images.png_text_bomb(), RejectReason.CORRUPT),
        (images.jpeg_scan_bomb(), RejectReason.CORRUPT),
        (images.jpeg()[:-400], RejectReason.TRUNCATED),
        (images.jpeg()[:100], RejectReason.TRUNCATED),  # inside a segment
        (images.png()[:-400], RejectReason.TRUNCATED),
        (images.encode(images.photo(), "WEBP")[:-40], RejectReason.CORRUPT),
        (b"\xff\xd8\xff", RejectReason.CORRUPT),
        (images.encode(Image.new("F", (64, 64)), "TIFF"), RejectReason.UNSUPPORTED_FORMAT),
        (images.encode(Image.new("RGB", (64, 64)), "TIFF", tiffinfo={254: 1}), RejectReason.UNSUPPORTED_FORMAT),  # raw
    ],
)
def test_rejections(content, expected):
    assert reason(content) == expected


def test_size_caps():
    content = images.jpeg()
    assert reason(content, LimitSettings(max_bytes=len(content) - 1)) == RejectReason.TOO_LARGE
    assert reason(content, LimitSettings(max_pixels=96 * 128 - 1)) == RejectReason.TOO_MANY_PIXELS
    assert decode(content, LimitSettings(max_bytes=len(content), max_pixels=96 * 128)).height == 96


def test_a_warning_of_pillow_about_the_picture_is_an_error():
    with pytest.raises(RejectedUpload, match="DecompressionBombWarning"):
        decode(images.png_header_only(10_000, 10_000), LimitSettings(max_pixels=150_000_000))


def test_a_broken_tag_beside_sound_pixels_is_not():
    content = images.encode(images.photo(), "TIFF", tiffinfo={305: "software that has a long name"})
    entry = content.index(b"\x31\x01\x02\x00")  # tag 305, ASCII; count and offset follow
    broken = content[: entry + 8] + b"\xff\xff\xff\x7f" + content[entry + 12 :]
    assert np.array_equal(decode(broken, LIMITS).pixels, images.photo())


def test_only_the_trailer_may_be_missing():
    for content in (images.jpeg(), images.jpeg(progressive=True)):
        assert np.array_equal(decode(content[:-2], LIMITS).pixels, decode(content, LIMITS).pixels)
        assert reason(content[:-12]) == RejectReason.TRUNCATED
    assert decode(images.png()[:-12], LIMITS).width == 128


def test_a_tail_and_a_second_picture_change_nothing():
    content = images.jpeg()
    expected = decode(content, LIMITS).pixels
    for tail in (b"PK\x03\x04zip", images.jpeg(images.photo(seed=1)), b"\0" * 1000):
        assert np.array_equal(decode(content + tail, LIMITS).pixels, expected)


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(images.photo(seed=seed)) for seed in range(3)]
    content = images.encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert np.array_equal(decode(content, LIMITS).pixels, images.photo(seed=0))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (64, 64), 77), (77, 77, 77)),
        (Image.new("1", (64, 64), 1), (255, 255, 255)),
        (Image.new("I;16", (64, 64), 0x4D80), (77, 77, 77)),  # upper byte
        (Image.new("RGBA", (64, 64), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (64, 64), (10, 20, 30, 0)), (255, 255, 255)),  # unseen pixels do not decide
        (Image.new("LA", (64, 64), (100, 255)), (100, 100, 100)),
        (Image.new("RGB", (64, 64), (9, 8, 7)).quantize(), (9, 8, 7)),
    ],
)
def test_pixel_modes_become_rgb(picture, expected):
    image = decode(images.encode(picture, "PNG"), LIMITS)
    assert image.pixels.shape == (64, 64, 3)
    assert tuple(image.pixels[5, 5]) == expected


def test_cmyk_jpeg():
    image = decode(images.encode(Image.new("CMYK", (64, 64), (255, 0, 0, 0)), "JPEG", quality=95), LIMITS)
    assert np.abs(image.pixels[5, 5].astype(int) - (0, 255, 255)).max() <= 3


def test_a_jpeg_is_stripped_of_metadata_but_not_of_its_colour_coding():
    content = images.encode(Image.new("CMYK", (64, 64)), "JPEG", comment=b"secret", exif=images.exif("ACME"))
    picture, ended = jpeg_picture(content)
    assert ended
    assert b"secret" not in picture
    assert b"ACME" not in picture
    assert b"Adobe" in picture


def test_scans_are_counted_before_decoding():
    assert jpeg_picture(images.jpeg_scan_bomb(MAX_JPEG_SCANS - 12))[1]
    with pytest.raises(RejectedUpload):
        jpeg_picture(images.jpeg_scan_bomb(MAX_JPEG_SCANS + 1))


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIF"),
        (b"avif\0\0\0\0avifmif1", "AVIF"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),  # the major brand leaves it open
        (b"mif1\0\0\0\0mif1heic", "HEIF"),
        (b"mif1\0\0\0\0mif1miaf", None),
        (b"qt  \0\0\0\0qt  heic", None),
    ],
)
def test_heif_and_avif_are_told_apart_by_their_brands(brands, expected):
    assert sniff((len(brands) + 8).to_bytes(4, "big") + b"ftyp" + brands) == expected


def outcome(content: bytes) -> None:
    """Lets no error through but the one that is allowed."""
    with suppress(RejectedUpload):
        assert decode(content, LIMITS).pixels.shape[2] == 3


MAGICS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypheic"]


@settings(max_examples=300, deadline=None)
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=300))
def test_any_bytes_decode_or_are_rejected(magic, rest):
    outcome(magic + rest)


SOUND = [
    images.camera_jpeg(),
    images.jpeg(progressive=True),
    images.png(text={"Comment": "x"}),
    images.encode(images.photo(), "TIFF", compression="tiff_lzw"),
    images.encode(images.photo(), "WEBP"),
    images.encode(images.photo(), "AVIF"),
    images.encode(images.photo(), "HEIF"),
]


@settings(max_examples=400, deadline=None)
@given(
    content=st.sampled_from(SOUND),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.floats(0, 1),
)
def test_damaged_images_decode_or_are_rejected(content, edits, cut):
    damaged = bytearray(content)
    for place, value in edits:
        damaged[int(place**3 * len(damaged))] = value  # mostly in the headers
    outcome(bytes(damaged[: int((1 - cut**4) * len(damaged))]))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_composited_over_white_in_every_strip(mode):
    picture = Image.fromarray(np.dstack([images.photo(100, 70), images.photo(100, 70, seed=1)[..., :1]]))
    picture = picture.quantize(16) if mode == "PA" else picture.convert(mode)
    rgba = picture.convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    assert np.array_equal(decode(images.encode(picture, "PNG"), LIMITS).pixels, np.asarray(expected))


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 60}])
def test_a_webp_decodes_to_what_pillow_decodes(options):
    content = images.encode(
        np.dstack([images.photo(100, 70), images.photo(100, 70, seed=1)[..., 0]]), "WEBP", **options
    )
    rgba = Image.open(io.BytesIO(content)).convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    assert np.array_equal(decode(content, LIMITS).pixels, np.asarray(expected))


def test_a_tile_larger_than_any_picture_is_refused():
    assert reason(bombs.tiff_tile(1024)) == RejectReason.TOO_MANY_PIXELS
    assert decode(bombs.tiff_tile(960), LIMITS).width == 96


def test_libtiff_writes_nothing_between_the_lines_of_the_log(capfd):
    drawing = Image.fromarray(images.photo(64, 96)).convert("1")
    content = bytearray(images.encode(drawing, "TIFF", compression="group4"))
    content[12:40] = b"\x55" * 28  # libtiff: "Fax4Decode: Bad code word"
    outcome(bytes(content))
    assert capfd.readouterr().err == ""
