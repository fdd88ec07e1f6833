"""Examinations, verdicts, and what follows from a verdict."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pipeline.errors import RejectReason
from pipeline.records import NotApplicableReason, UploadState, VerdictKind
from tests.factories import (
    add_model,
    add_upload,
    add_verdict,
    make_examination,
    make_score,
    make_sha256,
    make_verdict,
)
from tests.reviewing import say, waiting


def count(database, table, where="true"):
    return database.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one()  # noqa: S608


@pytest.mark.parametrize(
    "examination",
    [
        make_examination(),
        make_examination(exif=None, provenance=()),
        make_examination(score=make_score(patch_log_likelihoods=(), patch_corners=(), exif_predictions=())),
        make_examination(score=None, embedding=None, self_description=None, not_applicable=NotApplicableReason.GRAPHIC),
        make_examination(
            score=None, embedding=None, self_description=None, exif=None, format=None, width=None, height=None,
            rejected=RejectReason.TRUNCATED, detail="3 bytes short",
        ),
    ],
    ids=["scored", "bare", "no patches", "not applicable", "rejected"],
)  # fmt: skip
def test_an_examination_comes_back_as_it_was_saved(stores, examination):
    with stores.transaction() as tx:
        model = add_model(tx)
        tx.results.save_examination(examination, model)
    with stores.transaction() as tx:
        found = tx.results.find_examination(examination.sha256, model)
    assert found == replace(examination, embedding=None, self_description=None, patch_count=None, timings_ms={})


def test_another_version_has_not_scored_it(stores):
    examination = make_examination()
    with stores.transaction() as tx:
        model, other = add_model(tx), add_model(tx)
        tx.results.save_examination(examination, model)
        assert tx.results.find_examination(examination.sha256, other) is None
        assert tx.results.find_examination(make_sha256(), model) is None


def test_what_is_saved_first_stays(stores):
    first = make_examination()
    with stores.transaction() as tx:
        model = add_model(tx)
        tx.results.save_examination(first, model)
        tx.results.save_examination(replace(first, score=make_score(log_likelihood=0.0)), model)
        found = tx.results.find_examination(first.sha256, model)
    assert found.score == first.score


def test_the_embedding_keeps_float32_to_the_last_bit(stores, database):
    examination = make_examination()
    with stores.transaction() as tx:
        tx.results.save_examination(examination, add_model(tx))
    stored = database.execute(text("SELECT embedding::real[] FROM embeddings")).scalar_one()
    np.testing.assert_array_equal(np.float32(stored), examination.embedding)


def test_traces_of_all_patches_at_once_are_replaced_once(stores, database):
    examination = make_examination()
    with stores.transaction() as tx:
        tx.results.save_examination(examination, add_model(tx))
    database.execute(text("UPDATE embeddings SET self_description = NULL, patch_count = NULL"))
    later = replace(
        examination, embedding=-examination.embedding, self_description=-examination.self_description, patch_count=17
    )
    for found in (later, examination):
        with stores.transaction() as tx:
            tx.results.save_examination(found, add_model(tx))
    stored = text("SELECT embedding::real[], self_description::real[], patch_count FROM embeddings")
    embedding, described, patch_count = database.execute(stored).one()
    np.testing.assert_array_equal(np.float32(embedding), later.embedding)
    np.testing.assert_array_equal(np.float32(described), later.self_description)
    assert patch_count == 17


def test_bytes_that_never_arrived_leave_a_verdict_and_no_media(stores, database):
    missing = make_examination(
        sha256="", score=None, embedding=None, self_description=None, rejected=RejectReason.OBJECT_MISSING
    )
    with stores.transaction() as tx:
        upload, model = add_upload(tx), add_model(tx)
        add_verdict(tx, model, VerdictKind.REJECTED, upload=upload, examination=missing)
        assert tx.verdicts.of_upload(upload.id).verdict == "rejected"
    assert count(database, "media") == 0


def test_a_repeated_verdict_is_the_same_one(stores, database):
    examination = make_examination()
    with stores.transaction() as tx:
        upload, model = add_upload(tx, callback="main"), add_model(tx)
        ids = {add_verdict(tx, model, VerdictKind.UNSURE, upload=upload, examination=examination) for _ in range(2)}
    assert len(ids) == count(database, "verdicts") == count(database, "review_items") == count(database, "outbox") == 1


def test_a_newer_models_verdict_supersedes_and_withdraws_the_open_review(stores, database):
    with stores.transaction() as tx:
        upload, old, new = add_upload(tx), add_model(tx), add_model(tx)
        examination = make_examination()
        add_verdict(tx, old, VerdictKind.UNSURE, upload=upload, examination=examination)
        add_verdict(tx, new, VerdictKind.CAMERA, upload=upload, examination=examination)
        assert tx.verdicts.of_upload(upload.id).model_version == new.name
        assert waiting(tx) == []
    assert count(database, "verdicts") == 2
    assert count(database, "verdicts", "superseded_at IS NULL") == 1
    assert count(database, "review_items", "state = 'withdrawn'") == 1

    with stores.transaction() as tx:  # the older version is champion again
        add_verdict(tx, old, VerdictKind.UNSURE, upload=upload, examination=examination)
        assert tx.verdicts.of_upload(upload.id).model_version == old.name
        assert [item.model_version_id for item in waiting(tx)] == [old.id]
    assert count(database, "verdicts") == 2
    assert count(database, "review_items") == 1


def test_a_verdict_that_a_new_policy_makes_unsure_is_reviewed(stores):
    with stores.transaction() as tx:
        upload, model, examination = add_upload(tx), add_model(tx), make_examination()
        add_verdict(tx, model, VerdictKind.CAMERA, upload=upload, examination=examination)
        assert waiting(tx) == []
        add_verdict(tx, model, VerdictKind.UNSURE, upload=upload, examination=examination)
        [item] = waiting(tx)
        say(tx, item.id)
        add_verdict(tx, model, VerdictKind.UNSURE, upload=upload, examination=examination)
        assert waiting(tx) == []  # what a person has decided is not asked again


def test_postgres_itself_refuses_a_second_current_verdict(stores, database):
    with stores.transaction() as tx:
        upload = add_upload(tx)
        examination, old, new = make_examination(), add_model(tx), add_model(tx)
        for model in (old, new):
            add_verdict(tx, model, upload=upload, examination=examination)
    with pytest.raises(IntegrityError, match="uq_verdicts_current"):
        database.execute(text("UPDATE verdicts SET superseded_at = NULL"))


@pytest.mark.parametrize(
    ("kind", "callback", "reviews", "deliveries"),
    [
        (VerdictKind.UNSURE, None, 1, 0),
        (VerdictKind.UNSURE, "main", 1, 1),
        (VerdictKind.CAMERA, None, 0, 0),
        (VerdictKind.NOT_CAMERA, "main", 0, 1),
    ],
)
def test_what_follows_from_a_verdict(stores, database, kind, callback, reviews, deliveries):
    with stores.transaction() as tx:
        add_verdict(tx, add_model(tx), kind, callback=callback)
    assert (count(database, "review_items"), count(database, "outbox")) == (reviews, deliveries)


def test_the_view_shows_the_evidence(stores):
    examination = make_examination()
    with stores.transaction() as tx:
        upload, model = add_upload(tx, surface="avatars"), add_model(tx)
        add_verdict(tx, model, VerdictKind.NOT_CAMERA, upload=upload, examination=examination)
        view = tx.verdicts.of_upload(upload.id)
        assert tx.verdicts.of_events([upload.event.event_id]) == {upload.event.event_id: view}
        assert tx.verdicts.of_events([upload.event.event_id, "unknown"]) == {upload.event.event_id: view}
        assert tx.verdicts.latest() == [view]
    score = examination.score
    assert (view.verdict, view.surface, view.model_version) == ("not_camera", "avatars", model.name)
    assert (view.log_likelihood, view.p_value) == (score.log_likelihood, score.p_value)
    assert view.percentile_interval == (score.percentile_interval.low, score.percentile_interval.high)
    assert (view.camera_make, view.camera_model) == ("NIKON", "D90")
    assert view.timings_ms == examination.timings_ms
    assert view.provenance == [{"kind": "generator", "value": "GIMP 2.10", "found_in": "EXIF:Software"}]


@pytest.mark.parametrize(
    ("first", "second", "latest"),
    [
        ("05", "04", "first"),  # arrived out of order
        ("04", "05", "second"),
        ("A", "09", "first"),  # S3 pads the shorter one with zeros on the right: A0 > 09
        ("0B", "0A1", "first"),
        ("0a", "0B", "second"),  # hexadecimal: case does not count
        ("0A", "0A01", "second"),
    ],
)
def test_the_order_of_one_key_is_s3s(stores, first, second, latest):
    with stores.transaction() as tx:
        model = add_model(tx)
        uploads = {
            name: add_upload(tx, key="same.jpg", etag=name, sequencer=sequencer)
            for name, sequencer in (("first", first), ("second", second))
        }
        for upload in uploads.values():
            add_verdict(tx, model, upload=upload)
        assert tx.verdicts.of_object("uploads", "same.jpg").upload_id == uploads[latest].id


def test_an_object_whose_newest_version_waits_has_no_verdict_yet(stores):
    with stores.transaction() as tx:
        add_verdict(tx, add_model(tx), key="same.jpg", etag="a", sequencer="01")
        add_upload(tx, key="same.jpg", etag="b", sequencer="02")
        assert tx.verdicts.of_object("uploads", "same.jpg") is None


@pytest.mark.parametrize(("minute", "latest"), [(1, "sequenced"), (59, "plain")])
def test_without_a_sequencer_the_time_of_upload_decides(stores, minute, latest):
    with stores.transaction() as tx:
        model, uploads = add_model(tx), {}
        event = {"key": "same.jpg", "uploaded_at": "2026-01-02T12:30:00Z"}
        uploads["sequenced"] = add_upload(tx, etag="a", sequencer="01", **event)
        uploads["plain"] = add_upload(tx, etag="b", **event | {"uploaded_at": f"2026-01-02T12:{minute:02}:00Z"})
        for upload in uploads.values():
            add_verdict(tx, model, upload=upload)
        assert tx.verdicts.of_object("uploads", "same.jpg").upload_id == uploads[latest].id


def test_a_buried_upload_is_dead_with_its_reason(stores):
    with stores.transaction() as tx:
        upload = add_upload(tx)
        tx.uploads.begin_attempt(upload.id)
        for _ in range(2):  # a repeated burial is one letter
            tx.results.bury(upload.id, stage="moderate", reason="DetectorUnavailable", detail="full")
        assert tx.uploads.get(upload.id).state is UploadState.DEAD
        [letter] = tx.dead_letters.waiting()
    assert (letter.upload_id, letter.reason, letter.attempts) == (upload.id, "DetectorUnavailable", 1)


def test_a_verdict_of_an_unscored_upload_reads_well(stores):
    with stores.transaction() as tx:
        upload = add_upload(tx, callback="main")
        tx.results.save_verdict(
            upload,
            make_examination(
                sha256="", score=None, embedding=None, self_description=None, rejected=RejectReason.TOO_LARGE
            ),
            make_verdict(VerdictKind.REJECTED, "too_large"),
            add_model(tx),
        )
        view = tx.verdicts.of_upload(upload.id)
    assert (view.reason, view.log_likelihood, view.percentile_interval, view.exif_predictions) == (
        "too_large", None, None, [],
    )  # fmt: skip
