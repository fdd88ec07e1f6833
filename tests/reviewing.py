"""Reviewers at work, for tests that are about something else."""

from __future__ import annotations

from typing import Any

from pipeline.records import Label
from pipeline.review.decisions import Statement, decide_unseen
from pipeline.review.items import Given, Item, Which
from pipeline.settings import Settings
from pipeline.store import Transaction

SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]


def waiting(transaction: Transaction, **which: Any) -> list[Item]:
    """Open items, oldest first."""
    return [each.item for each in transaction.queue.page(Which(**which), limit=1000)]


def say(transaction: Transaction, item_id: int, reviewer: str = "ann", label: str = "camera", note: str = "") -> Given:
    """A decision on an item that nobody else holds."""
    return decide_unseen(transaction, item_id, reviewer, Statement(Label(label), note=note), SETTINGS)
