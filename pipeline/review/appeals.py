"""Somebody says that a verdict is wrong: a person who has not judged the image before looks again."""

from __future__ import annotations

from typing import Protocol

from pipeline.ports import PolicyStore
from pipeline.review.items import Appeal
from pipeline.review.ports import Audit
from pipeline.settings import Settings
from pipeline.verdict import policy_in_force


class AppealStore(Protocol):
    def surface_of(self, upload_id: int) -> str:
        """Raises NotFound."""
        ...

    def open(
        self, upload_id: int, *, statement: str, appellant: str | None, submitted_by: str, decisions_needed: int
    ) -> Appeal: ...


class AppealDesk(Protocol):
    """`pipeline.store.Transaction`."""

    @property
    def appeals(self) -> AppealStore: ...

    @property
    def policies(self) -> PolicyStore: ...

    @property
    def audit(self) -> Audit: ...


def appeal(
    desk: AppealDesk, upload_id: int, *, statement: str, appellant: str | None, submitted_by: str, settings: Settings
) -> Appeal:
    """Open an appeal against the upload's current verdict. Audited without the statement, which may name people.

    Raises:
        NotFound: no such upload.
        Conflict: it has no verdict on any bytes yet, or that verdict was appealed against before.
    """
    policy = policy_in_force(desk.policies, settings, desk.appeals.surface_of(upload_id))
    opened = desk.appeals.open(
        upload_id,
        statement=statement,
        appellant=appellant,
        submitted_by=submitted_by,
        decisions_needed=policy.decisions_needed,
    )
    desk.audit(submitted_by, "appeal.opened", f"review_item:{opened.item_id}", appeal=opened.id)
    return opened
