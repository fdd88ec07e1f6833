"""What reviewers' decisions verify for the nightly job and the evidence card."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from pipeline.read_out import tell_handling
from pipeline.records import Handling, VerdictKind
from tests.factories import add_model, add_upload, add_verdict, make_examination, make_score
from tests.reviewing import say, waiting


@pytest.fixture
def model(stores):
    with stores.transaction() as tx:
        return add_model(tx, encoder_version=3)


@pytest.mark.parametrize(
    ("surface", "decisions", "photo", "generated"),
    [
        ("posts", {}, False, False),
        ("posts", {"ann": "camera"}, False, False),  # one person is not enough
        ("posts", {"ann": "camera", "bob": "camera"}, True, False),
        ("posts", {"ann": "camera", "bob": "camera", "eve": "not_camera"}, False, False),  # doubted
        ("posts", {"ann": "not_camera", "bob": "not_camera"}, False, True),
        ("posts", {"ann": "camera", "bob": "not_camera"}, False, False),
        ("camera-app", {}, True, False),  # trusted without review
        ("camera-app", {"ann": "not_camera"}, False, False),  # but not against a reviewer
    ],
)
def test_what_counts_as_verified(stores, model, surface, decisions, photo, generated):
    with stores.transaction() as tx:
        add_verdict(tx, model, VerdictKind.UNSURE, surface=surface, decisions_needed=3)
        [item] = waiting(tx)
        for reviewer, label in decisions.items():
            say(tx, item.id, reviewer, label)
    with stores.transaction() as tx:
        verified = tx.training.verified_photos(3, reviewers_needed=2, trusted_surfaces=["camera-app"], limit=10)
        confirmed = tx.training.confirmed_ai(3, reviewers_needed=2, limit=10)
    assert (len(verified), len(confirmed)) == (photo, generated)


def test_a_verified_photo_is_complete(stores, model):
    told = tell_handling(np.array([0.1, 0.2, 0.7]))
    examination = make_examination(score=make_score(ai_probability=0.25, exif_predictions=(told,)))
    with stores.transaction() as tx:
        first = add_upload(tx, surface="camera-app", uploader_id="first")
        for upload in (first, add_upload(tx, surface="camera-app", uploader_id="copycat")):
            add_verdict(tx, model, upload=upload, examination=examination)
        [photo] = tx.training.verified_photos(3, reviewers_needed=2, trusted_surfaces=["camera-app"], limit=10)
    assert (photo.sha256, photo.uploader_id, photo.surface) == (examination.sha256, "first", "camera-app")
    assert (photo.make, photo.model, photo.ai_probability) == ("NIKON", "D90", 0.25)
    assert photo.handling is Handling.SOFT
    assert photo.embedding.dtype == np.float32
    np.testing.assert_array_equal(photo.embedding, examination.embedding)
    np.testing.assert_array_equal(photo.self_description, examination.self_description)
    assert photo.patch_count == examination.patch_count


def test_a_photo_that_was_looked_at_all_at_once_waits_for_another_look(stores, model, database):
    with stores.transaction() as tx:
        add_verdict(tx, model, surface="camera-app")
    trusted = {"reviewers_needed": 2, "trusted_surfaces": ["camera-app"], "limit": 10}
    with stores.transaction() as tx:
        assert len(tx.training.verified_photos(3, **trusted)) == 1
    database.execute(text("UPDATE embeddings SET patch_count = NULL"))
    with stores.transaction() as tx:
        assert tx.training.verified_photos(3, **trusted) == []


def test_only_this_encoders_embeddings_newest_first_up_to_the_limit(stores, model):
    with stores.transaction() as tx:
        examinations = [make_examination() for _ in range(3)]
        for examination in examinations:
            add_verdict(tx, model, surface="camera-app", examination=examination)
        trusted = {"reviewers_needed": 2, "trusted_surfaces": ["camera-app"]}
        assert tx.training.verified_photos(4, limit=10, **trusted) == []
        photos = tx.training.verified_photos(3, limit=2, **trusted)
    assert [photo.sha256 for photo in photos] == [examination.sha256 for examination in examinations[:0:-1]]


def test_a_photo_that_two_encoders_saw_has_the_embedding_of_the_one_asked_for(stores, model):
    ours = make_examination()
    theirs = replace(ours, embedding=-ours.embedding, score=make_score(ai_probability=0.75))
    with stores.transaction() as tx:
        upload = add_upload(tx, surface="camera-app")
        add_verdict(tx, model, upload=upload, examination=ours)
        add_verdict(tx, add_model(tx, encoder_version=4), upload=upload, examination=theirs)
        [photo] = tx.training.verified_photos(3, reviewers_needed=2, trusted_surfaces=["camera-app"], limit=10)
    np.testing.assert_array_equal(photo.embedding, ours.embedding)
    assert photo.ai_probability == ours.score.ai_probability
