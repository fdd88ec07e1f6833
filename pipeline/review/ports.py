"""What the use cases need of the store. Everything runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Protocol

from pipeline.records import ItemState, Label
from pipeline.review.items import Given, Item, Order, Reason, SkipReason, Which


class QueueStore(Protocol):
    def lock(self, reviewer: str) -> None:
        """One thing at a time for one reviewer, however many tabs she has open; until the transaction ends."""
        ...

    def locked(self, item_id: int) -> Item:
        """The item, which nobody else changes until the transaction ends. Raises NotFound."""
        ...

    def held(self, reviewer: str, which: Which) -> list[Item]:
        """Items of `which` under her lease that she may decide, the one that she was shown first."""
        ...

    def free(self, reviewer: str, which: Which, order: Order) -> Item | None:
        """The first item that nobody holds and she may decide; locked. Never a golden one."""
        ...

    def free_golden(self, reviewer: str, which: Which) -> Item | None: ...

    def may_decide(self, reviewer: str, item_id: int) -> bool:
        """Whether she neither decided it nor, for appeals and golden ones, any item of the same image."""
        ...

    def hold(self, item_id: int, reviewer: str, lease: timedelta) -> Item:
        """Start a lease, without showing the item."""
        ...

    def show(self, item_id: int, lease: timedelta) -> Item:
        """The holder sees it from now on: her time begins."""
        ...

    def release(self, reviewer: str, *, keep: Collection[int]) -> None:
        """End all of her leases but these."""
        ...

    def skip(self, item_id: int, reviewer: str, reason: SkipReason) -> None:
        """Never give it to her again, and end her lease."""
        ...

    def withdraw_if_gone(self, item_id: int) -> None:
        """Withdraw an item that was opened again, if what it asks about went while it was closed."""
        ...


class DecisionStore(Protocol):
    def add(
        self, item: Item, *, reviewer: str, label: Label, reason: Reason | None, note: str, is_final: bool
    ) -> Given: ...

    def given(self, item_id: int) -> list[Given]:
        """Those that were not taken back, oldest first."""
        ...

    def last(self, reviewer: str) -> Given | None:
        """Her last one that was not taken back."""
        ...

    def retract(self, decision_id: int) -> None: ...

    def settle(self, item_id: int, state: ItemState, outcome: Label | None) -> None:
        """What the item is now; ends its lease."""
        ...

    def verify(self, sha256: str, *, reviewers_needed: int) -> None:
        """Bring up to date whether people agree that the image is a photograph."""
        ...

    def announce(self, item: Item, outcome: Label, *, after: timedelta) -> None:
        """Write webhooks that say what was decided, to be sent after so long."""
        ...

    def withdraw_announcement(self, item: Item) -> None:
        """Those that were not sent yet are not sent."""
        ...


class Audit(Protocol):
    def __call__(self, actor: str, action: str, subject: str, /, **detail: object) -> None: ...


class Desk(Protocol):
    """`pipeline.store.Transaction`."""

    @property
    def queue(self) -> QueueStore: ...

    @property
    def decisions(self) -> DecisionStore: ...

    @property
    def audit(self) -> Audit: ...
