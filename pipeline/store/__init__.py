"""Postgres: the only SQL of the project.

`Stores` is the engine; `Stores.transaction()` gives a `Transaction` with one repository per noun, and is the only place
that commits. `models.py` and `models_*.py` are the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from pipeline.settings import PostgresSettings
from pipeline.store.accounts import Accounts
from pipeline.store.appeals import Appeals
from pipeline.store.audit import audit
from pipeline.store.audit_log import AuditLog
from pipeline.store.base import create_store_engine, session_scope
from pipeline.store.dead_letters import DeadLetter, DeadLetters, LetterFilter
from pipeline.store.decisions import Decisions
from pipeline.store.drift import Drift
from pipeline.store.drift_history import DriftHistory
from pipeline.store.erasure import Erasure
from pipeline.store.evidence import Evidence
from pipeline.store.golden import GoldenItems
from pipeline.store.inventory import Inventory
from pipeline.store.jobs import Jobs
from pipeline.store.model_history import ModelHistory
from pipeline.store.outbox import Delivery, DeliveryState, Outbox, Webhook
from pipeline.store.pictures import Pictures
from pipeline.store.policies import Policies, SavedPolicy
from pipeline.store.quality import Quality
from pipeline.store.queue import Queue
from pipeline.store.results import Results
from pipeline.store.retention import Retention
from pipeline.store.score_counts import ScoreCounts
from pipeline.store.search import Search
from pipeline.store.training import Training
from pipeline.store.uploads import Backlog, Uploads
from pipeline.store.verdicts import Verdicts, VerdictView
from pipeline.store.versions import Versions
from pipeline.store.waiting import Waiting

__all__ = [
    "Backlog",
    "DeadLetter",
    "Delivery",
    "DeliveryState",
    "LetterFilter",
    "SavedPolicy",
    "Stores",
    "Transaction",
    "VerdictView",
    "Webhook",
]


class Transaction:
    """The repositories, all in one transaction."""

    def __init__(self, session: Session) -> None:
        self.uploads = Uploads(session)
        self.results = Results(session)
        self.verdicts = Verdicts(session)
        self.dead_letters = DeadLetters(session)
        self.outbox = Outbox(session)
        self.queue = Queue(session)
        self.decisions = Decisions(session)
        self.appeals = Appeals(session)
        self.golden = GoldenItems(session)
        self.audit = partial(audit, session)
        self.versions = Versions(session)
        self.training = Training(session)
        self.drift = Drift(session)
        self.erasure = Erasure(session)
        self.retention = Retention(session)
        self.jobs = Jobs(session)
        self.policies = Policies(session)
        self.score_counts = ScoreCounts(session)
        self.quality = Quality(session)
        self.drift_history = DriftHistory(session)
        self.audit_log = AuditLog(session)
        self.model_history = ModelHistory(session)
        self.inventory = Inventory(session)
        self.evidence = Evidence(session)
        self.pictures = Pictures(session)
        self.search = Search(session)
        self.accounts = Accounts(session)
        self.waiting = Waiting(session)


class Stores:
    """A connection pool. One per process, made after any fork; nothing connects before it is used."""

    def __init__(self, settings: PostgresSettings, *, connection: Connection | None = None) -> None:
        """`connection`: work inside this one's transaction instead of an own pool (for tests that roll back)."""
        self._engine = create_store_engine(settings)
        self._bind = connection or self._engine

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Committed at the end, rolled back on any exception. Raises `StoreUnavailable`."""
        with session_scope(self._bind) as session:
            yield Transaction(session)

    def ping(self) -> str:
        """Version of the server that answers. Raises `StoreUnavailable`."""
        with session_scope(self._bind) as session:
            return str(session.execute(text("SHOW server_version")).scalar_one())

    def close(self) -> None:
        self._engine.dispose()
