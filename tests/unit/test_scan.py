"""What a scan of a folder finds, and that training reads the manifest that it writes."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.encoder.data import is_held_out, read_folder
from pipeline.scan.duplicates import find_duplicates, fingerprint
from pipeline.scan.folder import COLUMNS, scan_folder, write_manifest
from pipeline.scan.report import report, without
from pipeline.scan.signs import flags_of, jpeg_facts
from pipeline.settings import LimitSettings
from tests.images import camera_jpeg, exif, flat, jpeg, photo, png


def scan(folder):
    return scan_folder(folder, PillowExifReader(), LimitSettings())


def scene(seed, height=128, width=160):
    """A picture unlike that of any other seed, at any scale."""
    coarse = np.random.default_rng(seed).integers(30, 220, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def table_of(quality, own=False):
    """A JPEG at libjpeg's `quality`, or with a table of the encoder's own."""
    return jpeg(scene(1), **({"qtables": [list(range(2, 66))] * 2} if own else {"quality": quality}))


# ---- one file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [1, 50, 75, 85, 90, 95, 100])
def test_quality_of_a_standard_table_is_exact(quality):
    facts = jpeg_facts(jpeg(quality=quality))
    assert (facts.quality, facts.standard_table) == (quality, True)


def test_an_encoders_own_table_is_told_apart():
    assert not jpeg_facts(table_of(0, own=True)).standard_table


def test_a_progressive_file_is_told_apart():
    assert jpeg_facts(jpeg(progressive=True)).progressive
    assert not jpeg_facts(jpeg()).progressive


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        ({}, set()),
        ({"EXIF:ExifImageWidth": "4000", "EXIF:ExifImageHeight": "3000"}, set()),
        ({"EXIF:ExifImageWidth": "3000", "EXIF:ExifImageHeight": "4000"}, set()),  # turned without loss
        ({"EXIF:ExifImageWidth": "4032", "EXIF:ExifImageHeight": "3024"}, {"resized"}),
        ({"EXIF:ExifImageWidth": "0", "EXIF:ExifImageHeight": "0"}, set()),  # means unknown
        ({"EXIF:Software": "Adobe Photoshop CS6 (Windows)"}, {"editor"}),
        ({"EXIF:Software": "Adobe Photoshop Lightroom 6.4"}, {"raw_converter"}),
        ({"EXIF:Software": "Lightroom 6", "XMP:CreatorTool": "GIMP 2.10"}, {"raw_converter", "editor"}),
        ({"EXIF:Software": "Stable Diffusion XL"}, {"generator"}),
        (
            {"XMP:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
            {"generator"},
        ),
        ({"XMP:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"}, set()),
        ({"EXIF:Software": "Ver.1.02"}, set()),  # a camera's firmware
    ],
)
def test_flags_of_a_header(raw, flags):
    assert set(flags_of(raw, True, None, (4000, 3000))) == flags


def test_flags_of_the_coding():
    facts = jpeg_facts(jpeg(quality=84, progressive=True))
    assert set(flags_of({}, True, facts, (128, 96))) == {"low_quality", "jfif", "progressive"}
    assert set(flags_of({}, False, jpeg_facts(jpeg(quality=85)), (128, 96))) == {"no_exif"}


# ---- duplicates -------------------------------------------------------------------------------------------------


def test_exact_and_near_duplicates_point_to_the_first():
    original = scene(1, 512, 640)
    small = np.asarray(Image.fromarray(original).resize((320, 256)))
    recompressed = np.asarray(Image.open(io.BytesIO(jpeg(original, quality=60))))
    prints = [
        fingerprint(digest, pixels)
        for digest, pixels in [("a", original), ("b", small), ("b", small), ("c", recompressed), ("d", scene(2))]
    ]
    assert find_duplicates(prints) == {1: (0, "near"), 2: (0, "exact"), 3: (0, "near")}


def test_flat_pictures_are_not_alike():
    prints = [fingerprint(str(level), flat(level=level)) for level in (50, 120)]
    assert prints[0].dhash == prints[1].dhash
    assert find_duplicates(prints) == {}


def test_gradients_share_a_hash_but_are_not_alike():
    ramp = np.linspace(0, 1, 160)[None, :, None] * np.ones((128, 1, 3))
    prints = [fingerprint(str(power), (250 * ramp**power).astype(np.uint8)) for power in (1, 3)]
    assert (prints[0].dhash ^ prints[1].dhash).bit_count() <= 3
    assert find_duplicates(prints) == {}


# ---- a folder ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Two sources, a copy in the wrong one, and what cannot be read."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    for number in range(6):
        pixels = scene(number, 256, 320)
        block = exif("Canon", "EOS", FNumber=2.8, ISOSpeedRatings=100 + number)
        (tmp_path / "first" / f"{number}.jpg").write_bytes(jpeg(pixels, exif=block))
    copy = Image.fromarray(scene(0, 256, 320)).resize((160, 128))
    (tmp_path / "second" / "copy.jpg").write_bytes(jpeg(np.asarray(copy), quality=70))
    (tmp_path / "second" / "bare.png").write_bytes(png(scene(9)))
    (tmp_path / "second" / "cut.jpg").write_bytes(jpeg(photo(300, 300))[:-2000])
    (tmp_path / "second" / "tiny.jpg").write_bytes(jpeg(photo(40, 40)))
    (tmp_path / "second" / "text.jpg").write_bytes(b"not an image")
    (tmp_path / "second" / "IMG_1.HEIC").write_bytes(b"")
    return tmp_path


def test_every_file_has_one_outcome(folder):
    found = scan(folder)
    assert [row["file"] for row in found.rows] == [
        *(f"first/{number}.jpg" for number in range(6)),
        *("second/bare.png", "second/copy.jpg"),
    ]
    assert {file.file: file.reason for file in found.unreadable} == {
        "second/cut.jpg": "truncated",
        "second/tiny.jpg": "too_small",
        "second/text.jpg": "unsupported_format",
    }
    assert found.passed_over == {".heic": 1}
    assert found.duplicates == {"second/copy.jpg": ("first/0.jpg", "near")}, "the larger copy is kept"


def test_rows_say_what_the_files_say(folder):
    rows = {row["file"]: row for row in scan(folder).rows}
    row = rows["first/3.jpg"]
    assert (row["source_repo"], row["make"], row["model"]) == ("first", "Canon", "EOS")
    assert (row["width"], row["height"], row["jpeg_quality"]) == ("320", "256", "90")
    assert (row["ISO"], float(row["FNumber"])) == ("103", pytest.approx(2.8))
    assert "no_exif" in rows["second/bare.png"]["flags"]
    assert rows["second/copy.jpg"]["flags"] == "no_exif low_quality"


def test_training_reads_the_manifest_without_duplicates(folder):
    found = scan(folder)
    write_manifest(without(found.rows, ["no_exif"]), folder / "manifest.csv")
    tiles = read_folder(folder)
    assert [tile.file for tile in tiles] == [f"first/{number}.jpg" for number in range(6)]
    assert {tile.source for tile in tiles} == {"first"}
    assert tiles[3].tags["ISO"] == "103"
    write_manifest(found.rows, folder / "manifest.csv")
    assert "second/copy.jpg" not in [tile.file for tile in read_folder(folder)]


def test_an_older_manifest_is_believed_and_kept(folder):
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source_repo", "source_path", "Model", "sha256", "licence"])
        writer.writerow(["first/0.jpg", "someone/pictures", "a.jpg", "EOS 5D", "wrong", "CC0"])
        writer.writerow(["first/gone.jpg", "someone/pictures", "b.jpg", "EOS 5D", "", "CC0"])
    found = scan(folder)
    (row,) = found.rows
    assert (row["source_repo"], row["Model"], row["licence"]) == ("someone/pictures", "EOS 5D", "CC0")
    assert len(row["sha256"]) == 64
    assert [(file.file, file.reason) for file in found.unreadable] == [("first/gone.jpg", "object_missing")]
    assert found.passed_over[".jpg"] == 9, "not listed"
    write_manifest(found.rows, folder / "manifest.csv")
    with (folder / "manifest.csv").open(newline="") as file:
        assert next(csv.reader(file)) == [*COLUMNS, "source_path", "licence"]


def test_a_table_of_another_kind_than_the_models_usual_one_is_flagged(tmp_path):
    block = exif("Canon", "EOS")
    for number in range(7):
        content = jpeg(scene(number), exif=block, qtables=[list(range(2, 66))] * 2)
        (tmp_path / f"{number}.jpg").write_bytes(content)
    (tmp_path / "resaved.jpg").write_bytes(jpeg(scene(20), exif=block, quality=95))
    flagged = [row["file"] for row in scan(tmp_path).rows if "table_unlike_camera" in row["flags"]]
    assert flagged == ["resaved.jpg"]


def test_a_photograph_is_not_lost_with_its_largest_copy():
    rows = [
        row("large", "a", "X", flags="editor"),
        row("small", "a", "X", duplicate_of="large"),
        row("smaller", "a", "X", duplicate_of="large"),
        row("other", "a", "X"),
        row("copy", "a", "X", duplicate_of="other"),
    ]
    kept = {kept["file"]: kept["duplicate_of"] for kept in without(rows, ["editor"])}
    assert kept == {"small": "", "smaller": "small", "other": "", "copy": "other"}


# ---- the report -------------------------------------------------------------------------------------------------


def row(file, source, model, **more):
    return {"file": file, "source_repo": source, "model": model, "flags": "", "duplicate_of": "", **more}


def test_the_report_counts_what_training_would_see(folder):
    found = scan(folder)
    summary = report(found, found.rows)
    assert (summary.files, summary.sources, summary.cameras) == (7, 2, 1)
    assert summary.duplicates == {"near": 1}
    assert summary.unreadable == {"too_small": 1, "truncated": 1, "unsupported_format": 1}
    assert {tag.name: tag.photographs for tag in summary.tags if tag.photographs} == {
        **dict.fromkeys(("Make", "Model", "FNumber", "ISO"), 6),
    }
    assert summary.fit.photographs + summary.held_out.photographs == summary.photographs == 7
    assert any("held out" in warning for warning in summary.warnings)


def test_split_and_classes_are_those_of_training(tmp_path):
    (tmp_path / "a.jpg").write_bytes(camera_jpeg())
    found = scan(tmp_path)
    sources = [name for name in map(str, range(60)) if not is_held_out(name, "X")]
    rows = [row(f"{source}.jpg", source, "X", Make="Canon", ISO="100") for source in sources]
    held_out = next(name for name in map(str, range(100)) if is_held_out(name, "X"))
    rows += [row("held.jpg", held_out, "X", Make="Canon"), row("again.jpg", sources[0], "X", duplicate_of="0.jpg")]
    found.duplicates["again.jpg"] = ("0.jpg", "exact")
    summary = report(found, rows)
    assert (summary.fit.photographs, summary.held_out.photographs) == (len(sources), 1)
    make = next(tag for tag in summary.tags if tag.name == "Make")
    assert (make.photographs, make.classes) == (len(sources) + 1, {"Canon": len(sources)})
    assert next(tag for tag in summary.tags if tag.name == "ISO").classes is None, "ranked"
