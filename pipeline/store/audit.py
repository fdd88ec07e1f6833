"""The audit log: who did what to which thing."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from pipeline.store.models_ops import AuditRow


def audit(session: Session, actor: str, action: str, subject: str, /, **detail: Any) -> None:
    """Append, in the transaction of what was done: both are kept or neither.

    Args:
        action: `account.disabled`, `review.decided`, ...
        subject: kind and id, `account:12`.
        detail: as JSON; no secrets, it stays for ever.
    """
    session.add(AuditRow(actor=actor, action=action, subject=subject, detail=detail))
    session.flush()
