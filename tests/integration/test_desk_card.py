"""The evidence card and the search page as a browser gets them, with the shipped release's own calibration."""

from __future__ import annotations

import hashlib
import itertools
import re

import pytest
from fastapi.testclient import TestClient

from pipeline.adapters.registry import Registry
from pipeline.people import Role
from pipeline.pictures import Picture
from pipeline.records import (
    ExifFacts,
    ExifPrediction,
    Handling,
    Interval,
    NotApplicableReason,
    ProvenanceClaim,
    VerdictKind,
)
from pipeline.release import Release
from pipeline.settings import DEFAULT_RELEASE
from tests import images
from tests.desk import signed_in
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination, make_score
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.web.app import create_app

_numbers = itertools.count()

SCORE = {
    "log_likelihood": 1850.0,
    "percentile": 31.5,
    "percentile_interval": Interval(25.3, 38.2),
    "ai_probability": 0.21,
    "fused": -1.2,
    "p_value": 0.034,
    "patch_corners": ((0, 64), (128, 0)),
    "exif_predictions": (
        ExifPrediction("Make", "Canon", 0.75, "NIKON", 0.0625),
        ExifPrediction("Flash", "16", 0.5, "16", 0.5),
        ExifPrediction("MeteringMode", "5", 0.4, None, None),
        ExifPrediction("Handling", "handled", 0.9, None, None),
    ),
}


class NoNetworks:
    """Takes a release without a Triton server."""

    def install(self, release):
        return 1, 1


@pytest.fixture
def deps(fresh_dsn, s3_server):
    settings = settings_for(s3_server, LENSWATCH_POSTGRES__DSN=fresh_dsn, LENSWATCH_S3__MODEL_BUCKET="card-models")
    with Dependencies(settings) as deps:
        for bucket in (settings.s3.model_bucket, *settings.s3.buckets):
            deps.objects.ensure_bucket(bucket)
        yield deps


@pytest.fixture
def model(deps):
    """The shipped release, published."""
    registry = Registry(deps.stores, deps.objects, deps.settings)
    return registry.publish(Release.open(DEFAULT_RELEASE), NoNetworks(), actor="tests", alias="champion")


@pytest.fixture
def web(deps):
    with TestClient(create_app(deps.settings)) as client:
        yield client


def judged(deps, model, kind=VerdictKind.UNSURE, *, score=SCORE, event=None, **examination):
    """An upload with an object, a verdict and all that a card shows."""
    content = images.jpeg(images.photo(300, 400, seed=next(_numbers)))
    upload_event = make_event(**(event or {}))
    deps.objects.put("uploads", upload_event.key, content)
    known = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "width": 400,
        "height": 300,
        "score": make_score(**score) if score else None,
    }
    with deps.stores.transaction() as tx:
        upload, _ = tx.uploads.record(upload_event)
        add_verdict(tx, model, kind, upload=upload, examination=make_examination(**known | examination))
    return upload


def text_of(page):
    """What a page says, without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def test_a_card_says_everything_in_words(deps, web, model):
    upload = judged(
        deps,
        model,
        exif=ExifFacts({"Make": "NIKON", "ExposureTime": 0.004, "Flash": 16}, "exiftool"),
        provenance=(
            ProvenanceClaim("c2pa", "present, not verified", "JUMBF:JUMDLabel"),
            ProvenanceClaim("generator", "Midjourney", "XMP:CreatorTool"),
            ProvenanceClaim("iptc_digital_source_type", "trainedAlgorithmicMedia", "XMP:DigitalSourceType"),
        ),
    )
    page = signed_in(web, deps.stores, Role.VIEWER).get(f"/uploads/{upload.id}")
    assert page.status_code == 200
    said = text_of(page)
    calibrated = Release.open(DEFAULT_RELEASE).scorer().model
    alike = calibrated.photographs_alike[Handling.HANDLED]
    for words in (
        "Looks like few of the photographs we know: of 1,000 photographs handled like this one, about 34 look at least"
        " as strange. a signal, not proof",
        "It would be not_camera if the promised rate were at least 3.4 %.",
        "It would be camera if the rate promised for unsure were at most 3.3 %.",
        "At full size 3.4 %, at half the size 3.4 %.",
        "percentile 31.5 (25.3–38.2)",
        f"Among all {len(calibrated.calibration_log_likelihood)} calibration photographs",
        f"among {alike} calibration photographs handled like this one",
        "Make NIKON 6 % Canon 75 % speaks against it",
        "Flash off 50 % off 50 % agrees",
        "MeteringMode – multi-segment 40 % nothing claimed",
        "handled: made smaller, sharpened, or blurred a little (90 %)",
        "Content Credentials (C2PA) present, in JUMBF:JUMDLabel Their integrity not verified by Lenswatch"
        " Trust in their signer not verified by Lenswatch",
        "Midjourney in XMP:CreatorTool",
        "made by a generative model (trainedAlgorithmicMedia)",
        "ExposureTime 1/250 s",
        f"Model version {model.name}",
        upload.event.key,
        "fetch decode 3.5 ms 12.0 ms",
    ):
        assert words in said or words in page.text
    assert said.count("Handling") == 0  # a pseudo-tag: told apart, in words
    assert page.text.count('<svg class="chart"') == 3


def test_a_card_has_no_inline_style_or_script(deps, web, model):
    page = signed_in(web, deps.stores, Role.VIEWER).get(f"/uploads/{judged(deps, model).id}")
    assert " style=" not in page.text
    assert "<style" not in page.text
    assert re.findall(r"<script(?![^>]* src=)", page.text) == []
    assert " on" not in re.sub(r">[^<]*<", "><", page.text).replace(" one", "")  # no event handlers


def test_nothing_of_an_upload_is_taken_for_markup(deps, web, model):
    hostile = "<script>alert(1)</script>"
    upload = judged(
        deps,
        model,
        event={"key": f"{hostile}.jpg", "uploader_id": hostile},
        exif=ExifFacts({"Make": hostile, "Model": hostile}, "exiftool", (hostile,)),
        provenance=(ProvenanceClaim("c2pa", "present", hostile), ProvenanceClaim("generator", hostile, hostile)),
    )
    viewer = signed_in(web, deps.stores, Role.VIEWER)
    for path in (f"/uploads/{upload.id}", "/search?q=%3Cscript", f"/search?by=uploader&q={hostile}"):
        page = viewer.get(path)
        assert "&lt;script&gt;alert" in page.text
        assert hostile not in page.text


def test_a_card_stands_without_the_models_files(deps, web):
    with deps.stores.transaction() as tx:
        lost = add_model(tx)
    page = signed_in(web, deps.stores, Role.VIEWER).get(f"/uploads/{judged(deps, lost).id}")
    assert page.status_code == 200
    assert "cannot be loaded just now" in page.text
    assert "<svg" not in page.text


def test_a_card_of_what_was_never_scored(deps, web, model):
    viewer = signed_in(web, deps.stores, Role.VIEWER)
    graphic = judged(
        deps, model, VerdictKind.NOT_APPLICABLE, score=None, not_applicable=NotApplicableReason.GRAPHIC, embedding=None
    )
    assert "The question does not apply" in viewer.get(f"/uploads/{graphic.id}").text
    with deps.stores.transaction() as tx:
        waiting = add_upload(tx)
    page = viewer.get(f"/uploads/{waiting.id}")
    assert "No verdict yet" in page.text
    assert "There is no picture of this upload." in page.text
    assert viewer.get("/uploads/999999").status_code == 404


def test_pictures_are_for_people_who_are_signed_in_and_only_ours(deps, web, model):
    upload = judged(deps, model)
    original = deps.objects.get("uploads", upload.event.key, max_bytes=1 << 20)
    assert web.get(f"/images/{upload.id}/view").status_code == 401
    viewer = signed_in(web, deps.stores, Role.VIEWER)
    for which in Picture:
        answer = viewer.get(f"/images/{upload.id}/{which.value}")
        kind = "image/png" if which is Picture.HEAT else "image/jpeg"
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
        assert answer.headers["Cache-Control"] == "private, max-age=600"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.content != original
    assert viewer.get(f"/images/{upload.id}/original").status_code == 422
    gone = viewer.get("/images/999999/view")
    assert (gone.status_code, gone.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")


def listed(page):
    return [int(number) for number in re.findall(r'<th scope="row"><a href="/uploads/(\d+)"', page.text)]


def test_uploads_are_found_by_what_the_platform_knows_them_by(deps, web):
    with deps.stores.transaction() as tx:
        model = add_model(tx)
        one, two, three = (
            add_upload(tx, key=key, uploader_id=who, event_id=f"event {key}")
            for key, who in (("a/ä 1.jpg", "ann"), ("a/ä 2.jpg", "bob"), ("b/1.jpg", "ann"))
        )
        examination = make_examination()
        add_verdict(tx, model, upload=one, examination=examination)
        add_verdict(tx, model, upload=three, examination=examination)
        elsewhere = add_upload(tx, bucket="other", key="a/ä 1.jpg", uploader_id="cy")
    viewer = signed_in(web, deps.stores, Role.VIEWER)
    for params, expected in (
        ({"q": "a/"}, [one, two]),
        ({"q": "a/ä 2"}, [two]),
        ({"q": "a/", "bucket": "other"}, [elsewhere]),
        ({"q": "A/"}, []),
        ({"by": "uploader", "q": "ann"}, [three, one]),
        ({"by": "event", "q": "event a/ä 2.jpg"}, [two]),
        ({"by": "sha256", "q": examination.sha256.upper()}, [three, one]),
        ({"by": "uploader", "q": "an"}, []),
        ({}, []),
    ):
        assert listed(viewer.get("/search", params=params)) == [upload.id for upload in expected]
    assert viewer.get("/search", params={"q": "a\0b"}).status_code == 422


@pytest.mark.parametrize("by", ["key", "uploader"])
def test_pages_of_a_search_follow_one_another_without_gap_or_repetition(deps, web, monkeypatch, by):
    monkeypatch.setattr("workers.web.desk.search.PAGE", 3)
    with deps.stores.transaction() as tx:
        made = [
            add_upload(tx, key=f"k/{number // 2}.jpg", etag=f"e{number}", uploader_id="k/").id for number in range(8)
        ]
    viewer = signed_in(web, deps.stores, Role.VIEWER)
    path, seen = f"/search?by={by}&q=k/", []
    while path:
        page = viewer.get(path)
        seen += listed(page)
        following = re.search(r'href="(/search\?[^"]+)" rel="next"', page.text)
        path = following and following[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 8
    assert seen == (made if by == "key" else made[::-1])
