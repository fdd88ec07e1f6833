"""Statements that change at most so many rows, under the plan that made them change more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from pipeline.people import Role
from pipeline.records import Lane, VerdictKind
from pipeline.retention import Family
from pipeline.store import accounts
from pipeline.store.models_people import SessionRow
from tests.factories import add_model, add_upload, add_verdict

MINUTE = timedelta(minutes=1)
FUTURE = datetime(2040, 1, 1, tzinfo=UTC)
OTHER_PLANS = ("hashjoin", "mergejoin", "hashagg", "sort", "material")


@pytest.fixture(autouse=True)
def nested_loops(database):
    """What the planner may choose where a table's statistics are old: a loop that could run its inner side anew."""
    for plan in OTHER_PLANS:
        database.execute(text(f"SET LOCAL enable_{plan} = off"))


def test_a_claim_of_uploads(stores, database):
    with stores.transaction() as tx:
        for _ in range(6):
            add_upload(tx)
    database.execute(text("UPDATE uploads SET updated_at = now() - interval '10 minutes'"))
    with stores.transaction() as tx:
        claims = [len(tx.uploads.claim_silent(Lane.LIVE, MINUTE, limit=4)) for _ in range(3)]
    assert claims == [4, 2, 0]


def test_a_claim_of_deliveries(stores):
    with stores.transaction() as tx:
        model = add_model(tx)
        for _ in range(6):
            add_verdict(tx, model, VerdictKind.NOT_CAMERA, callback="main")
        claims = [len(tx.outbox.claim(limit=4, lease=MINUTE)) for _ in range(3)]
    assert claims == [4, 2, 0]


def test_what_is_removed_at_once(stores):
    with stores.transaction() as tx:
        for number in range(6):
            tx.audit("ann", "model.promoted", f"model:{number}")
    with stores.transaction() as tx:
        removed = [tx.retention.remove(Family.AUDIT_LOG, before=FUTURE, limit=4).rows.total() for _ in range(3)]
    assert removed == [4, 2, 0]


def test_sessions_that_are_over(stores, database, monkeypatch):
    monkeypatch.setattr(accounts, "EXPIRED_AT_ONCE", 4)
    with stores.transaction() as tx:
        ann = tx.accounts.add("ann", Role.REVIEWER, created_by="root")
        for number in range(6):
            tx.accounts.open_session(ann.id, f"over-{number}", lifetime=MINUTE)
    database.execute(text("UPDATE sessions SET expires_at = now() - interval '1 minute'"))
    left = []
    for number in range(2):
        with stores.transaction() as tx:
            tx.accounts.open_session(ann.id, f"open-{number}", lifetime=MINUTE)
        left.append(database.scalar(select(func.count()).select_from(SessionRow)))
    assert left == [3, 2]
