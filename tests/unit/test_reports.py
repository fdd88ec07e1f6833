"""Answers as JSON, CSV and table rows."""

import csv
import io
import json
from pathlib import Path

import pytest

from pipeline.errors import RejectReason
from pipeline.records import (
    Examination,
    ExifFacts,
    Interval,
    ProvenanceClaim,
    Score,
    SurfacePolicy,
    Verdict,
    VerdictKind,
)
from workers.reports import CSV_COLUMNS, TABLE_COLUMNS, as_csv_row, as_json, as_table_row

SCORED = Examination(
    sha256="ab" * 32,
    byte_size=3,
    format="JPEG",
    width=64,
    height=64,
    exif=ExifFacts({"Make": "=cmd|' /C calc'!A0", "Model": "X-1", "ISO": 100}, "exiftool", ("odd",)),
    provenance=(ProvenanceClaim("generator", "Midjourney", "EXIF:Software"),),
    score=Score(
        log_likelihood=-12.5,
        percentile=7.0,
        percentile_interval=Interval(5.0, 9.0),
        ai_probability=0.25,
        fused=0.1,
        p_value=0.07,
        full_size_p_value=0.03,
        half_size_p_value=0.35,
        patch_log_likelihoods=(-12.5,),
        patch_corners=((0, 0),),
        exif_predictions=(),
    ),
    timings_ms={"decode": 1.23456, "detect": 10.0},
)
REJECTED = Examination(sha256="", byte_size=0, rejected=RejectReason.CORRUPT, detail="@SUM(A1)")
UNSURE = Verdict(VerdictKind.UNSURE, "p_value_at_most_unsure_fpr", SurfacePolicy())
BAD = Verdict(VerdictKind.REJECTED, "corrupt", SurfacePolicy())


def test_json_holds_what_was_found():
    answer = json.loads(json.dumps(as_json(Path("a.jpg"), SCORED, UNSURE, "release-1"), allow_nan=False))
    assert answer["file"] == "a.jpg"
    assert (answer["verdict"], answer["reason"]) == ("unsure", "p_value_at_most_unsure_fpr")
    assert (answer["log_likelihood"], answer["percentile"], answer["ai_probability"]) == (-12.5, 7.0, 0.25)
    assert (answer["p_value"], answer["percentile_interval"]) == (0.07, [5.0, 9.0])
    assert (answer["full_size_p_value"], answer["half_size_p_value"]) == (0.03, 0.35)
    assert answer["exif"]["ISO"] == 100
    assert answer["provenance"] == [{"kind": "generator", "value": "Midjourney", "found_in": "EXIF:Software"}]
    assert answer["timings_ms"] == {"decode": 1.235, "detect": 10.0}
    assert (answer["model"], answer["sha256"]) == ("release-1", "ab" * 32)


def test_a_rejected_file_has_the_same_fields():
    rejected, scored = as_json(Path("b"), REJECTED, BAD, "r"), as_json(Path("a"), SCORED, UNSURE, "r")
    assert rejected.keys() == scored.keys()
    assert rejected["log_likelihood"] is rejected["exif"] is rejected["sha256"] is None


def test_a_spreadsheet_runs_nothing():
    file = io.StringIO()
    csv.writer(file).writerows(
        [as_csv_row(as_json(Path("+1.jpg"), SCORED, UNSURE, "r")), as_csv_row(as_json(Path("b"), REJECTED, BAD, "r"))]
    )
    scored, rejected = (dict(zip(CSV_COLUMNS, row, strict=True)) for row in csv.reader(io.StringIO(file.getvalue())))
    assert scored["make"].startswith("'=")
    assert scored["file"].startswith("'+")
    assert rejected["detail"] == "'@SUM(A1)"
    assert float(scored["log_likelihood"]) == -12.5  # a number stays one
    assert scored["provenance"] == "Midjourney (EXIF:Software)"


def test_a_file_name_that_is_not_utf8():
    path = Path("bad\udcff.jpg")
    assert as_csv_row(as_json(path, REJECTED, BAD, "r"))[0] == "bad?.jpg"
    json.dumps(as_json(path, REJECTED, BAD, "r")).encode()


@pytest.mark.parametrize(
    ("examination", "verdict", "start"),
    [
        (SCORED, UNSURE, ("evil.jpg", "unsure", "-12.5", "7.0", "0.250")),
        (REJECTED, BAD, ("evil.jpg", "rejected (corrupt)", "-", "-", "-")),
    ],
)
def test_table_rows(examination, verdict, start):
    row = as_table_row(as_json(Path("folder/ev\x1bil.jpg"), examination, verdict, "r"))
    assert row[:5] == start
    assert len(row) == len(TABLE_COLUMNS)
