"""Two workers that hold the same message: each on a connection of its own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import sleep

import psycopg
import pytest
from pydantic import SecretStr

from pipeline.errors import Conflict
from pipeline.records import UploadState, VerdictKind
from pipeline.settings import PostgresSettings
from pipeline.store import Stores
from tests.factories import add_model, add_upload, make_examination, make_verdict
from tests.reviewing import say, waiting

END_THE_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def stores(fresh_dsn):
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn)))
    yield stores
    stores.close()


def known(stores, model):
    """An examination that is stored: two workers do not wait for each other because both insert it."""
    examination = make_examination()
    with stores.transaction() as tx:
        tx.results.save_examination(examination, model)
    return examination


def moderate(stores, upload, examination, kind, model, *, dawdle=0.0, decisions_needed=1):
    """What `moderate` writes, in one transaction that stays open for `dawdle` s more."""
    with stores.transaction() as tx:
        verdict = make_verdict(kind, decisions_needed=decisions_needed)
        verdict_id = tx.results.save_verdict(upload, examination, verdict, model)
        tx.uploads.finish(upload.id, UploadState.DONE, sha256=examination.sha256)
        sleep(dawdle)
    return verdict_id


def both(first, second):
    """Run them at once; the first one has written, and holds its transaction open, before the second one starts."""
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(lambda: first(dawdle=0.6))
        sleep(0.2)
        quick = pool.submit(second)
        return slow.result(timeout=20), quick.result(timeout=20)


def test_a_message_that_two_workers_hold_gives_one_verdict_one_review_and_one_webhook(stores):
    with stores.transaction() as tx:
        upload, model = add_upload(tx, callback="main"), add_model(tx)
    examination = known(stores, model)

    def work(**options):
        return moderate(stores, upload, examination, VerdictKind.UNSURE, model, **options)

    first, second = both(work, work)
    assert first == second
    with stores.transaction() as tx:
        assert [view.verdict_id for view in tx.verdicts.latest()] == [first]
        assert len(waiting(tx)) == len(tx.outbox.claim(limit=10, lease=timedelta(minutes=1))) == 1


def test_two_model_versions_at_once_leave_one_current_verdict(stores):
    with stores.transaction() as tx:
        upload, old, new = add_upload(tx), add_model(tx), add_model(tx)
    examination = known(stores, old)
    _, last = both(
        lambda **options: moderate(stores, upload, examination, VerdictKind.UNSURE, old, **options),
        lambda: moderate(stores, upload, examination, VerdictKind.CAMERA, new),
    )
    with stores.transaction() as tx:
        assert [view.verdict_id for view in tx.verdicts.latest()] == [last]
        assert waiting(tx) == []


def test_two_attempts_at_once_are_both_counted(stores):
    with stores.transaction() as tx:
        upload = add_upload(tx)

    def begin(*, dawdle=0.0):
        with stores.transaction() as tx:
            attempts = tx.uploads.begin_attempt(upload.id).attempts
            sleep(dawdle)
        return attempts

    assert both(begin, begin) == (1, 2)


def test_two_reviewers_at_once_both_decide(stores):
    with stores.transaction() as tx:
        upload, model = add_upload(tx), add_model(tx)
    moderate(stores, upload, known(stores, model), VerdictKind.UNSURE, model, decisions_needed=2)
    with stores.transaction() as tx:
        [item] = waiting(tx)

    def decide(reviewer, *, dawdle=0.0):
        with stores.transaction() as tx:
            decision = say(tx, item.id, reviewer)
            sleep(dawdle)
        return decision

    both(lambda **options: decide("ann", **options), lambda: decide("bob"))
    with stores.transaction() as tx:
        trusted = tx.training.verified_photos(model.encoder_version, reviewers_needed=2, trusted_surfaces=[], limit=9)
    assert len(trusted) == 1


def test_two_promotions_at_once_are_told_in_the_order_in_which_they_came(stores):
    with stores.transaction() as tx:
        versions = [add_model(tx) for _ in range(3)]
        tx.versions.point("champion", versions[0].id, actor="ann", reason="")

    def promote(version, *, dawdle=0.0):
        with stores.transaction() as tx:
            before = tx.versions.point("champion", version.id, actor="ann", reason="")
            sleep(dawdle)
        return before

    before = both(lambda **options: promote(versions[1], **options), lambda: promote(versions[2]))
    assert before == (versions[0].id, versions[1].id)
    with stores.transaction() as tx:
        assert tx.versions.before("champion") == versions[1]


def test_two_model_versions_that_find_their_scores_at_once_leave_one_current_verdict(stores):
    """Nothing but the verdicts is written, so no other row puts one behind the other."""
    examination = make_examination()
    with stores.transaction() as tx:
        upload, models = add_upload(tx), [add_model(tx), add_model(tx)]
        for model in models:
            tx.results.save_examination(examination, model)

    def answer(model, *, dawdle=0.0):
        with stores.transaction() as tx:
            verdict_id = tx.results.save_verdict(upload, examination, make_verdict(), model)
            sleep(dawdle)
        return verdict_id

    _, last = both(lambda **options: answer(models[0], **options), lambda: answer(models[1]))
    with stores.transaction() as tx:
        assert [view.verdict_id for view in tx.verdicts.latest()] == [last]


def test_a_decision_that_a_newer_model_overtakes_is_refused(stores):
    examination = make_examination()
    with stores.transaction() as tx:
        upload, old, new = add_upload(tx), add_model(tx), add_model(tx)
    moderate(stores, upload, examination, VerdictKind.UNSURE, old)
    with stores.transaction() as tx:
        [item] = waiting(tx)

    def decide():
        with pytest.raises(Conflict, match="withdrawn"), stores.transaction() as tx:
            say(tx, item.id)

    both(lambda **options: moderate(stores, upload, examination, VerdictKind.CAMERA, new, **options), decide)
    with stores.transaction() as tx:
        assert tx.queue.get(item.id).state == "withdrawn"


def test_a_connection_that_the_server_ended_while_it_was_idle_is_replaced_unnoticed(stores, fresh_dsn):
    stores.ping()
    with psycopg.connect(fresh_dsn.replace("+psycopg", ""), autocommit=True) as other:
        ended = other.execute(END_THE_OTHERS).fetchall()
    assert ended == [(True,)]
    assert stores.ping()
