"""What the evidence card reads, on a real Postgres: neighbours, near copies, and what people said before."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import func, insert, select, text, update

from pipeline.errors import NotFound
from pipeline.records import FEATURE_DIM, ExifFacts, VerdictKind
from pipeline.store.models import EmbeddingRow
from pipeline.store.models_review import DecisionRow, RetractionRow, ReviewItemRow
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination, make_score

ORIGIN = np.zeros(FEATURE_DIM, np.float32)


def at(distance):
    """An embedding so far from the origin."""
    return ORIGIN + np.eye(FEATURE_DIM, dtype=np.float32)[0] * distance


@pytest.fixture
def tx(stores):
    with stores.transaction() as transaction:
        yield transaction


@pytest.fixture
def model(tx):
    return add_model(tx)


def judged(tx, model, kind=VerdictKind.UNSURE, *, event=None, **examination):
    upload = add_upload(tx, **(event or {}))
    known = make_examination(**examination)
    add_verdict(tx, model, kind, upload=upload, examination=known)
    return upload, known.sha256


def card(tx, upload, *, blind=False, bits=31):
    return tx.evidence.of_upload(upload.id, near_bits=bits, blind=blind)


def item_of(database, upload, purpose="unsure"):
    where = (ReviewItemRow.upload_id == upload.id, ReviewItemRow.purpose == purpose)
    return database.execute(select(ReviewItemRow.id).where(*where)).scalar_one()


def add_item(database, upload, purpose):
    """Another item of the upload's verdict."""
    columns = "verdict_id, upload_id, sha256, surface, model_version_id"
    database.execute(
        text(
            f"INSERT INTO review_items ({columns}, purpose) SELECT {columns}, :purpose FROM review_items"  # noqa: S608
            " WHERE upload_id = :upload LIMIT 1"
        ),
        {"purpose": purpose, "upload": upload.id},
    )
    return item_of(database, upload, purpose)


def decide(database, item_id, sha256, reviewer="ann", label="camera", closes=False):
    said = insert(DecisionRow).values(review_item_id=item_id, sha256=sha256, reviewer=reviewer, label=label, note="")
    decision = database.execute(said.returning(DecisionRow.id)).scalar_one()
    if closes:
        closed = {"state": "decided", "closed_at": func.now()}
        database.execute(update(ReviewItemRow).where(ReviewItemRow.id == item_id).values(closed))
    return decision


def said(found):
    return [one.reviewer for one in found.decisions]


def set_pdq(tx, sha256, differing):
    """A hash that differs from all zeros in so many bits."""
    tx.pictures.set_pdq(sha256, "1" * differing + "0" * (256 - differing))


def test_everything_known_of_an_upload_is_found(tx, model):
    older = add_model(tx)
    upload, _ = judged(tx, older, exif=ExifFacts({"Make": "Canon"}, "exiftool"))
    score = make_score(p_value=0.04)
    again = make_examination(score=score)
    add_verdict(tx, model, VerdictKind.UNSURE, upload=upload, examination=again)
    found = card(tx, upload)
    assert (found.upload.event.key, found.sha256, found.media.width) == (upload.event.key, again.sha256, 4032)
    assert (found.verdict.model.name, found.score, found.exif) == (model.name, score, again.exif)
    assert found.verdict.timings_ms == {"fetch": 3.5, "decode": 12.0}
    [earlier] = found.earlier_verdicts
    assert (earlier.model_version, earlier.kind, earlier.p_value) == (older.name, VerdictKind.UNSURE, 0.315)


def test_an_upload_that_waits_has_little_to_show(tx):
    found = card(tx, add_upload(tx))
    assert (found.verdict, found.media, found.score, found.neighbours, found.decisions) == (None, None, None, (), ())
    with pytest.raises(NotFound):
        tx.evidence.of_upload(10**9, near_bits=31, blind=False)


def test_neighbours_are_the_nearest_verified_photographs_of_the_same_encoder(tx, model, database):
    upload, own = judged(tx, model, embedding=ORIGIN)
    near, near_bytes = judged(tx, model, embedding=at(1), exif=ExifFacts({"Make": "Sony", "Model": "A7"}, "exiftool"))
    far, far_bytes = judged(tx, model, embedding=at(3))
    judged(tx, model, embedding=at(0.5))  # nearer, but nobody verified it
    _, newer = judged(tx, add_model(tx, encoder_version=2), embedding=at(0.1))  # not comparable
    verified = [own, near_bytes, far_bytes, newer]
    database.execute(update(EmbeddingRow).where(EmbeddingRow.sha256.in_(verified)).values(is_verified=True))
    found = card(tx, upload).neighbours
    assert [(one.upload_id, one.make, one.model, one.distance) for one in found] == [
        (near.id, "Sony", "A7", 1.0),
        (far.id, "NIKON", "D90", 3.0),
    ]


def test_neighbours_stay_without_a_picture_when_their_object_is_gone(tx, model, database):
    upload, _ = judged(tx, model, embedding=ORIGIN)
    gone, sha256 = judged(tx, model, embedding=at(1))
    database.execute(update(EmbeddingRow).where(EmbeddingRow.sha256 == sha256).values(is_verified=True))
    tx.uploads.delete(make_event(kind="deleted", key=gone.event.key))
    [neighbour] = card(tx, upload).neighbours
    assert neighbour.upload_id is None


def test_near_copies_are_the_same_bytes_and_hashes_within_the_bound(tx, model):
    upload, own = judged(tx, model)
    twin, _ = judged(tx, model, VerdictKind.CAMERA, sha256=own)
    copies = {}
    for bits in (31, 4, 32):
        copies[bits], sha256 = judged(tx, model)
        set_pdq(tx, sha256, bits)
    gone, deleted = judged(tx, model)
    set_pdq(tx, deleted, 1)
    tx.uploads.delete(make_event(kind="deleted", key=gone.event.key))
    assert {copy.upload_id for copy in card(tx, upload).near_copies} == {twin.id}  # it has no hash itself yet
    set_pdq(tx, own, 0)
    found = card(tx, upload).near_copies
    assert [(copy.upload_id, copy.distance) for copy in found] == [(twin.id, 0), (copies[4].id, 4), (copies[31].id, 31)]
    assert [copy.upload_id for copy in card(tx, upload, bits=4).near_copies] == [twin.id, copies[4].id]
    assert upload.id in [copy.upload_id for copy in tx.evidence.near_copies(own, limit=10)]


def test_near_copies_name_the_item_that_waits_and_who_has_it(tx, model, database):
    upload, own = judged(tx, model)
    held, _ = judged(tx, model, sha256=own)
    closed, _ = judged(tx, model, sha256=own)
    add_item(database, held, "appeal")  # decided on its own, never together with others
    holding = update(ReviewItemRow).where(ReviewItemRow.upload_id == held.id)
    database.execute(holding.values(held_by="bob", held_until=text("now() + interval '5 minutes'")))
    database.execute(update(ReviewItemRow).where(ReviewItemRow.upload_id == closed.id).values(state="decided"))
    found = {copy.upload_id: copy for copy in card(tx, upload).near_copies}
    assert (found[held.id].item_id, found[held.id].held_by) == (item_of(database, held), "bob")
    assert (found[closed.id].item_id, found[closed.id].held_by) == (None, None)
    database.execute(holding.values(held_until=text("now() - interval '1 s'")))
    assert {copy.held_by for copy in card(tx, upload).near_copies} == {None}, "who went away holds nothing"


def test_what_waits_is_among_near_copies_however_many_there_are(tx, model):
    for _ in range(12):
        _, own = judged(tx, model, VerdictKind.CAMERA, sha256="ab" * 32)
    waiting, _ = judged(tx, model, sha256=own)
    found = tx.evidence.near_copies(own, limit=5)
    assert len(found) == 5
    assert found[0].upload_id == waiting.id


def test_earlier_decisions_count_for_the_image_and_its_near_copies(tx, model, database):
    upload, own = judged(tx, model)
    copy, copied = judged(tx, model)
    other, others = judged(tx, model)
    for sha256, bits in ((own, 0), (copied, 10), (others, 200)):
        set_pdq(tx, sha256, bits)
    decide(database, item_of(database, upload), own, "ann", closes=True)
    decide(database, item_of(database, copy), copied, "bob", closes=True)
    decide(database, item_of(database, other), others, "cyd", closes=True)
    taken_back = decide(database, item_of(database, upload), own, "dan")
    database.execute(insert(RetractionRow).values(decision_id=taken_back))
    found = card(tx, upload)
    assert [(one.reviewer, one.is_same_image) for one in found.decisions] == [("bob", False), ("ann", True)]
    assert said(card(tx, upload, blind=True)) == ["bob", "ann"]


def test_the_second_reviewer_does_not_see_what_the_first_said(tx, model, database):
    upload, own = judged(tx, model)
    twin, _ = judged(tx, model, sha256=own)
    decide(database, item_of(database, upload), own, "ann")  # one of two, so the item stays open
    decide(database, item_of(database, twin), own, "bob", closes=True)
    assert said(card(tx, upload)) == ["bob", "ann"]
    assert said(card(tx, upload, blind=True)) == ["bob"]
    assert said(card(tx, twin, blind=True)) == ["bob"]


def test_a_golden_item_does_not_give_its_answer_away(tx, model, database):
    upload, own = judged(tx, model)
    decide(database, item_of(database, upload), own, "ann", closes=True)
    assert said(card(tx, upload, blind=True)) == ["ann"]
    golden = add_item(database, upload, "golden")
    decide(database, golden, own, "bob")
    assert said(card(tx, upload, blind=True)) == []
    twin, _ = judged(tx, model, sha256=own)
    assert said(card(tx, twin, blind=True)) == []  # it is one click away from the golden item's card
    assert said(card(tx, upload)) == ["bob", "ann"]


def test_unprepared_items_are_claimed_once_and_can_be_given_back(tx, model, database):
    first, _ = judged(tx, model)
    second, _ = judged(tx, model)
    claimed = tx.pictures.claim_unprepared()
    assert claimed == (item_of(database, first), first.id)
    assert tx.pictures.claim_unprepared() == (item_of(database, second), second.id)
    assert tx.pictures.claim_unprepared() is None
    tx.pictures.unprepare(claimed[0])
    assert tx.pictures.claim_unprepared() == claimed
