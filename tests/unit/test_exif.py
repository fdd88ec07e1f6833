"""What of a header is kept."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.exif import INTEGER_TAGS, REAL_TAGS, TEXT_LIMIT, TEXT_TAGS, clean_text, exif_facts


def facts(**tags):
    return exif_facts({f"EXIF:{name}": value for name, value in tags.items()}, "exiftool")


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("Canon", "Canon"),
        ("NIKON CORPORATION   ", "NIKON CORPORATION"),
        ("Can\0on", "Canon"),  # Postgres refuses NUL
        ("a\r\nlevel=error\x1b[31m", "alevel=error[31m"),  # no forged log line, no terminal escape
        ("evil\u202egpj.exe", "evilgpj.exe"),  # no bidirectional override
        ("\ud800x", "x"),  # a lone surrogate is no UTF-8
        ("📷 Kamera", "📷 Kamera"),
        ("M" * 64_000, "M" * TEXT_LIMIT),
        (650, "650"),
    ],
)
def test_text(raw, kept):
    assert facts(Make=raw).make == kept


@pytest.mark.parametrize("empty", ["", "   ", "\0\0\0", None])
def test_empty_text_is_no_claim(empty):
    assert facts(Model=empty).model is None


@pytest.mark.parametrize(
    ("name", "raw", "kept"),
    [
        ("FNumber", "2.8", 2.8),  # ExifTool's answer is parsed with its numbers left as text
        ("ISO", "400", 400),
        ("ISO", "100 200", 100),  # some cameras write two
        ("ISO", 1600.0, 1600),
        ("ExposureCompensation", "-0.6666666667", -0.6666666667),
        ("Flash", 0, 0),
    ],
)
def test_numbers(name, raw, kept):
    value = facts(**{name: raw}).tags[name]
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize("raw", ["inf", "undef", "nan", "-inf", "1e400", "", "abc", [], {}, 1e300])
def test_what_is_no_finite_number_is_left_out_with_a_warning(raw):
    found = facts(ExposureTime=raw)
    assert "ExposureTime" not in found.tags
    assert found.warnings == ("ExposureTime: not a finite number",)


def test_places_serial_numbers_and_people_are_not_kept():
    raw = {
        "EXIF:Make": "Canon",
        "EXIF:GPSLatitude": 47.4,
        "Composite:GPSPosition": "47.4 8.5",
        "EXIF:SerialNumber": "123",
        "EXIF:LensSerialNumber": "9",
        "EXIF:OwnerName": "Ann",
        "EXIF:Artist": "Ann",
        "EXIF:UserComment": "hello",
        "MakerNotes:SerialNumber": "123",
        "MakerNotes:ISO": 99,
    }
    assert exif_facts(raw, "exiftool").tags == {"Make": "Canon"}


def test_exiftools_warnings_are_passed_on_as_one_clean_line():
    found = exif_facts({"ExifTool:Warning": "Bad\nIFD"}, "exiftool", ("first",))
    assert found.warnings == ("first", "BadIFD")


ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.lists(st.text(), max_size=2)
)


@given(st.dictionaries(st.sampled_from([f"EXIF:{name}" for name in (*TEXT_TAGS, *INTEGER_TAGS, *REAL_TAGS)]), ANY))
def test_any_tags_become_facts_that_json_and_postgres_accept(raw):
    found = exif_facts(raw, "exiftool")
    dumped = json.dumps(dict(found.tags), allow_nan=False).encode()
    assert b"\\u0000" not in dumped
    assert all(len(value) <= TEXT_LIMIT for value in found.tags.values() if isinstance(value, str))
    assert all(math.isfinite(value) for value in found.tags.values() if not isinstance(value, str))


@given(st.text(st.characters()))
def test_cleaning_twice_changes_nothing(text):
    assert clean_text(clean_text(text)) == clean_text(text)
    clean_text(text).encode("utf-8")
