"""Several processes at the same row at the same moment: nothing twice, nothing lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from pipeline.records import UploadState, VerdictKind
from pipeline.settings import PostgresSettings
from pipeline.store import Stores, Transaction
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination, make_verdict

CROWD = 4


@pytest.fixture
def stores(fresh_dsn):
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn), pool_size=CROWD))
    yield stores
    stores.close()


@pytest.fixture
def count(fresh_dsn) -> Callable[[str], int]:
    def count(table: str) -> int:
        engine = create_engine(fresh_dsn)
        with engine.connect() as connection:
            found = connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608
        engine.dispose()
        return found

    return count


def at_once(stores: Stores, *works: Callable[[Transaction], object]) -> list[object]:
    """Each work in a transaction of its own; none commits, and none starts, before all are connected."""
    barrier = Barrier(len(works), timeout=10)

    def run(work):
        with stores.transaction() as tx:
            tx.uploads.backlog()
            barrier.wait()
            return work(tx)

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(run, works))


def test_the_same_event_at_several_consumers_is_one_row(stores, count):
    event = make_event()
    taken = at_once(stores, *[lambda tx: tx.uploads.record(event)] * CROWD)
    assert len({upload.id for upload, _ in taken}) == count("uploads") == 1
    assert sorted(is_new for _, is_new in taken) == [False] * (CROWD - 1) + [True]


def test_attempts_of_several_workers_are_all_counted(stores):
    with stores.transaction() as tx:
        upload = add_upload(tx)
    begun = at_once(stores, *[lambda tx: tx.uploads.begin_attempt(upload.id)] * CROWD)
    assert sorted(row.attempts for row in begun) == [1, 2, 3, 4]


def test_a_message_that_came_twice_gives_one_verdict_one_review_one_webhook(stores, count):
    examination = make_examination()
    with stores.transaction() as tx:
        upload, model = add_upload(tx, callback="main"), add_model(tx)
    ids = at_once(
        stores,
        *[lambda tx: add_verdict(tx, model, VerdictKind.UNSURE, upload=upload, examination=examination)] * CROWD,
    )
    assert len(set(ids)) == 1
    assert [count(table) for table in ("media", "scores", "verdicts", "review_items", "outbox")] == [1] * 5
    with stores.transaction() as tx:
        assert tx.uploads.get(upload.id).state is UploadState.DONE


def test_two_model_versions_at_one_upload_leave_one_current_verdict(stores, count):
    examination = make_examination()
    with stores.transaction() as tx:
        upload, models = add_upload(tx), [add_model(tx) for _ in range(CROWD)]
        for model in models:
            tx.results.save_examination(examination, model)
    works = [
        lambda tx, model=model: tx.results.save_verdict(upload, examination, make_verdict(), model) for model in models
    ]
    assert len(set(at_once(stores, *works))) == count("verdicts") == CROWD
    assert count("verdicts WHERE superseded_at IS NULL") == 1


def test_two_reviewers_at_one_item_are_both_heard(stores, count):
    with stores.transaction() as tx:
        add_verdict(tx, add_model(tx), VerdictKind.UNSURE)
        [item] = tx.reviews.waiting()
    works = [
        lambda tx, who=who: tx.reviews.decide(item.id, reviewer=who, label="camera", note="") for who in ("ann", "bob")
    ]
    assert len(set(at_once(stores, *works))) == count("decisions") == count("audit_log") == 2


def test_moves_of_an_alias_make_one_chain(stores, fresh_dsn):
    with stores.transaction() as tx:
        models = [add_model(tx) for _ in range(CROWD)]
    works = [
        lambda tx, model=model: tx.versions.point("champion", model.id, actor="tests", reason="race")
        for model in models
    ]
    came_before = at_once(stores, *works)
    with stores.transaction() as tx:
        last = tx.versions.resolve("champion").id
    assert {*came_before, last} == {None, *(model.id for model in models)}
