"""Pictures of uploads on a real Postgres and a real S3: made once, kept, erased, and never of other bytes."""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image
from structlog.testing import capture_logs

from pipeline import derived
from pipeline.derived import picture, prepare, remove_left
from pipeline.derived_files import derived_keys
from pipeline.erase import DERIVED_FILES, Subject, SubjectKind, erase
from pipeline.errors import NotFound, ObjectStoreUnavailable, PicturesBusy, RejectReason
from pipeline.pictures import Picture
from pipeline.records import ExifFacts, VerdictKind
from pipeline.retention import RetentionDeps, remove_expired
from pipeline.settings import RetentionSettings
from tests import images
from tests.factories import add_model, add_verdict, make_event, make_examination, make_score
from tests.fakes import FakeClock
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.tasks.desk import prepare_next

_numbers = itertools.count()


@pytest.fixture
def deps(fresh_dsn, s3_server, redis_url):
    number = next(_numbers)
    settings = settings_for(
        s3_server,
        LENSWATCH_POSTGRES__DSN=fresh_dsn,
        LENSWATCH_REDIS__URL=redis_url,
        LENSWATCH_S3__MODEL_BUCKET=f"derived-models-{number}",
        LENSWATCH_S3__BUCKETS=f'["derived-uploads-{number}"]',
    )
    with Dependencies(settings) as deps:
        for bucket in (settings.s3.model_bucket, *settings.s3.buckets):
            deps.objects.ensure_bucket(bucket)
        yield deps


def put(deps, content=None, kind=VerdictKind.UNSURE, *, model=None, **examination):
    """An upload that was judged; returns it and its digest."""
    content = content or images.jpeg(images.photo(600, 900, seed=next(_numbers)))
    digest = hashlib.sha256(content).hexdigest()
    [bucket] = deps.settings.s3.buckets
    event = make_event(bucket=bucket)
    deps.objects.put(bucket, event.key, content)
    known = {"sha256": digest, "width": 900, "height": 600} | examination
    with deps.stores.transaction() as tx:
        upload, _ = tx.uploads.record(event)
        add_verdict(tx, model or add_model(tx), kind, upload=upload, examination=make_examination(**known))
    return upload, digest


def names(deps, digest):
    return [key.split("/")[-1] for key in derived_keys(deps.objects, deps.settings.s3.model_bucket, digest)]


def count_decodes(monkeypatch):
    decodes, decode = [], derived.decode
    monkeypatch.setattr(derived, "decode", lambda *args: decodes.append(1) or decode(*args))
    return decodes


def test_all_pictures_are_made_at_once_and_only_once(deps, monkeypatch):
    upload, digest = put(deps)
    decodes = count_decodes(monkeypatch)
    made = {which: picture(deps.pictures, upload.id, which) for which in Picture}
    again = {which: picture(deps.pictures, upload.id, which) for which in Picture}
    assert made == again
    assert len(decodes) == 1
    assert {Image.open(io.BytesIO(content)).format for content in made.values()} == {"JPEG", "PNG"}
    assert sorted(name.split("-")[0] for name in names(deps, digest)) == sorted(Picture)


def test_many_who_ask_at_once_wait_for_one_decoder(deps, monkeypatch):
    upload, _ = put(deps)
    decodes = count_decodes(monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: picture(deps.pictures, upload.id, Picture.VIEW), range(4)))
    assert len(set(answers)) == len(decodes) == 1


def test_who_waits_too_long_for_the_decoder_is_sent_away(deps, monkeypatch):
    upload, _ = put(deps)
    monkeypatch.setattr(derived, "PATIENCE", 0.01)
    with deps.pictures.drawing, pytest.raises(PicturesBusy):
        picture(deps.pictures, upload.id, Picture.VIEW)
    assert picture(deps.pictures, upload.id, Picture.VIEW)


def test_what_another_process_has_drawn_meanwhile_is_taken(deps, monkeypatch):
    upload, _ = put(deps)
    stored, asked = derived._stored, []

    def drawn_after_the_second_look(*args):
        if len(asked) == 2:
            return stored(*args)
        asked.append(args)
        if len(asked) == 2:
            other = replace(deps.pictures, drawing=threading.Lock())
            prepare(other, upload.id)
        return None

    monkeypatch.setattr(derived, "_stored", drawn_after_the_second_look)
    assert Image.open(io.BytesIO(picture(deps.pictures, upload.id, Picture.VIEW))).size == (900, 600)


def test_another_models_heat_map_needs_no_look_at_the_image(deps, monkeypatch):
    content = images.jpeg(images.photo(600, 900))
    upload, digest = put(deps, content)
    first = picture(deps.pictures, upload.id, Picture.HEAT)
    with deps.stores.transaction() as tx:
        score = make_score(patch_corners=((0, 0), (500, 800)))
        known = make_examination(sha256=digest, width=900, height=600, score=score)
        add_verdict(tx, add_model(tx), upload=upload, examination=known)
    decodes = count_decodes(monkeypatch)
    assert picture(deps.pictures, upload.id, Picture.HEAT) != first
    assert not decodes
    assert sum(name.startswith("heat") for name in names(deps, digest)) == 2


def test_pictures_stand_upright(deps):
    upload, _ = put(deps, exif=ExifFacts({"Orientation": 6}, "exiftool"))
    for which in (Picture.VIEW, Picture.HEAT):
        assert Image.open(io.BytesIO(picture(deps.pictures, upload.id, which))).size == (600, 900)


def test_an_object_that_changed_is_not_shown_as_the_one_that_was_judged(deps):
    upload, digest = put(deps)
    deps.objects.put(upload.event.bucket, upload.event.key, images.jpeg(images.photo(600, 900, seed=999)))
    with pytest.raises(NotFound, match="changed"):
        picture(deps.pictures, upload.id, Picture.VIEW)
    assert names(deps, digest) == []


def test_where_there_is_no_picture_it_is_said_why(deps):
    gone, _ = put(deps)
    deps.objects.delete(gone.event.bucket, gone.event.key)
    rejected, _ = put(deps, b"no image", VerdictKind.REJECTED, rejected=RejectReason.CORRUPT, score=None, width=None)
    unscored, _ = put(deps, kind=VerdictKind.NOT_APPLICABLE, score=None)
    for upload_id, which, why in (
        (gone.id, Picture.VIEW, "object_missing"),
        (rejected.id, Picture.VIEW, "corrupt"),
        (unscored.id, Picture.HEAT, "no score"),
        (10**9, Picture.VIEW, "no bytes"),
    ):
        with pytest.raises(NotFound, match=why):
            picture(deps.pictures, upload_id, which)
    assert picture(deps.pictures, unscored.id, Picture.VIEW)


def test_a_deleted_object_is_not_shown_any_more(deps):
    upload, _ = put(deps)
    prepare(deps.pictures, upload.id)
    with deps.stores.transaction() as tx:
        tx.uploads.delete(make_event(kind="deleted", bucket=upload.event.bucket, key=upload.event.key))
    with pytest.raises(NotFound, match="deleted"):
        picture(deps.pictures, upload.id, Picture.VIEW)


def test_pictures_go_when_the_last_object_with_their_bytes_is_deleted(deps):
    content = images.jpeg(images.photo(600, 900, seed=77))
    first, digest = put(deps, content)
    twin, _ = put(deps, content)
    prepare(deps.pictures, first.id)

    def delete(upload):
        with deps.stores.transaction() as tx:
            tx.uploads.delete(make_event(kind="deleted", bucket=upload.event.bucket, key=upload.event.key))
        return remove_left(deps.pictures)

    assert delete(first) == 0
    assert picture(deps.pictures, twin.id, Picture.VIEW)
    assert delete(twin) == 1
    assert names(deps, digest) == []
    assert remove_left(deps.pictures) == 0


def test_pictures_that_are_drawn_while_their_object_is_deleted_are_not_kept(deps, monkeypatch):
    upload, digest = put(deps)
    draw = derived.draw

    def deleted_meanwhile(*args):
        with deps.stores.transaction() as tx:
            tx.uploads.delete(make_event(kind="deleted", bucket=upload.event.bucket, key=upload.event.key))
        return draw(*args)

    monkeypatch.setattr(derived, "draw", deleted_meanwhile)
    with pytest.raises(NotFound, match="deleted"):
        picture(deps.pictures, upload.id, Picture.VIEW)
    assert names(deps, digest) == []


def test_erasing_an_upload_erases_its_pictures(deps):
    upload, digest = put(deps)
    prepare(deps.pictures, upload.id)
    kept, other = put(deps)
    prepare(deps.pictures, kept.id)
    assert len(names(deps, digest)) == len(Picture)
    report = erase(deps.erasure, Subject(SubjectKind.CONTENT, digest), actor="tests")
    assert report.complete
    assert report.counts[DERIVED_FILES] == len(Picture)
    assert names(deps, digest) == []
    assert len(names(deps, other)) == len(Picture)


def test_what_expires_takes_its_pictures_along(deps):
    upload, digest = put(deps, kind=VerdictKind.CAMERA)
    waits, other = put(deps)  # for a reviewer, so it stays
    for one in (upload, waits):
        prepare(deps.pictures, one.id)
    settings = RetentionSettings(uploads=timedelta(days=1))
    clock = FakeClock(datetime.now(UTC) + timedelta(days=2))
    remove_expired(RetentionDeps(deps.stores.transaction, deps.objects, deps.pictures.model_bucket, settings, clock))
    assert names(deps, digest) == []
    assert len(names(deps, other)) == len(Picture)


def test_pictures_that_are_drawn_while_their_upload_is_erased_are_not_kept(deps, monkeypatch):
    upload, digest = put(deps)
    draw = derived.draw

    def erased_meanwhile(*args):
        erase(deps.erasure, Subject(SubjectKind.CONTENT, digest), actor="tests")
        return draw(*args)

    monkeypatch.setattr(derived, "draw", erased_meanwhile)
    with pytest.raises(NotFound, match="erased"):
        picture(deps.pictures, upload.id, Picture.VIEW)
    assert names(deps, digest) == []


def test_a_picture_that_is_stored_makes_near_copies_known(deps):
    pixels = images.drawing(600, 900, seed=3)
    first, digest = put(deps, images.png(pixels))
    copy, copied = put(deps, images.jpeg(pixels, quality=70))
    other, _ = put(deps, images.jpeg(images.drawing(600, 900, seed=4)[:, ::-1]))
    for upload in (first, copy, other):
        prepare(deps.pictures, upload.id)
    with deps.stores.transaction() as tx:
        near = tx.evidence.near_copies(digest, limit=10)
    assert [(one.upload_id, one.sha256) for one in near] == [(first.id, digest), (copy.id, copied)]
    assert near[1].distance <= 31


def test_waiting_items_are_prepared_oldest_first(deps):
    _, one = put(deps)
    put(deps, kind=VerdictKind.CAMERA)  # nobody is asked about it
    _, two = put(deps)
    assert prepare_next(deps)
    assert (len(names(deps, one)), len(names(deps, two))) == (len(Picture), 0)
    assert prepare_next(deps)
    assert len(names(deps, two)) == len(Picture)
    assert not prepare_next(deps)


@pytest.mark.parametrize("error", [NotFound("gone"), MemoryError()])
def test_an_image_that_cannot_be_drawn_is_tried_once_and_holds_nobody_up(deps, monkeypatch, error):
    put(deps)
    _, good = put(deps)
    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr("workers.tasks.desk.prepare", lambda *_: (_ for _ in ()).throw(error))
        assert prepare_next(deps)
    assert lines[0]["event"] in ("no_pictures", "pictures_failed")
    assert prepare_next(deps)
    assert len(names(deps, good)) == len(Picture)
    assert not prepare_next(deps)


def test_an_outage_costs_an_item_nothing(deps, monkeypatch):
    _, digest = put(deps)
    with monkeypatch.context() as patch:
        patch.setattr("workers.tasks.desk.prepare", lambda *_: (_ for _ in ()).throw(ObjectStoreUnavailable("down")))
        with pytest.raises(ObjectStoreUnavailable):
            prepare_next(deps)
    assert prepare_next(deps)
    assert len(names(deps, digest)) == len(Picture)
