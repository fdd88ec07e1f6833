"""Thresholds that leads saved. A surface's newest row holds; without one, the settings do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from pipeline.errors import Conflict, NotFound
from pipeline.records import SurfacePolicy
from pipeline.store.audit import audit
from pipeline.store.models_review import SurfacePolicyRow


@dataclass(frozen=True, slots=True)
class SavedPolicy:
    """One row of a surface's history."""

    id: int
    surface: str
    policy: SurfacePolicy
    actor: str
    reason: str
    created_at: datetime


class Policies:
    """Implements `ports.PolicyStore`, and keeps the history."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def saved(self, surface: str) -> SurfacePolicy | None:
        row = self._session.scalars(_newest_first(surface).limit(1)).one_or_none()
        return _to_policy(row) if row else None

    def all_saved(self) -> dict[str, SurfacePolicy]:
        return {surface: saved.policy for surface, saved in self.newest().items()}

    def newest(self) -> dict[str, SavedPolicy]:
        """Surface -> its newest row, of the surfaces that have one."""
        last = select(func.max(SurfacePolicyRow.id)).group_by(SurfacePolicyRow.surface)
        rows = self._session.scalars(select(SurfacePolicyRow).where(SurfacePolicyRow.id.in_(last)))
        return {row.surface: _to_saved(row) for row in rows}

    def history(self, surface: str, *, limit: int = 50) -> list[SavedPolicy]:
        """Newest first."""
        return [_to_saved(row) for row in self._session.scalars(_newest_first(surface).limit(limit))]

    def get(self, surface: str, policy_id: int) -> SavedPolicy:
        """Raises NotFound, also where the row is another surface's."""
        row = self._session.get(SurfacePolicyRow, policy_id)
        if row is None or row.surface != surface:
            raise NotFound(f"policy {policy_id} of surface {surface}")
        return _to_saved(row)

    def save(
        self, surface: str, policy: SurfacePolicy, *, actor: str, reason: str, instead_of: int | None
    ) -> SavedPolicy:
        """Append to the surface's history: every verdict from the commit on goes by it. Audited.

        `instead_of`: number of the row that its author saw in force; None: the settings were. Raises Conflict where
        somebody saved another one meanwhile.
        """
        self._session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"surface_policies {surface}"))))
        newest = self._session.scalars(_newest_first(surface).limit(1)).one_or_none()
        if (newest and newest.id) != instead_of:
            raise Conflict(f"the thresholds of {surface} were changed meanwhile: look at them again")
        before = newest and _to_policy(newest)
        row = SurfacePolicyRow(
            surface=surface,
            not_camera_fpr=policy.not_camera_fpr,
            unsure_fpr=policy.unsure_fpr,
            decisions_needed=policy.decisions_needed,
            actor=actor,
            reason=reason,
        )
        self._session.add(row)
        change = {"from": before and _as_json(before), "to": _as_json(policy)}
        audit(self._session, actor, "policy.saved", f"surface:{surface}", reason=reason, **change)
        return _to_saved(row)


def _newest_first(surface: str) -> Select[SurfacePolicyRow]:
    return select(SurfacePolicyRow).where(SurfacePolicyRow.surface == surface).order_by(SurfacePolicyRow.id.desc())


def _as_json(policy: SurfacePolicy) -> dict[str, float]:
    return {**policy.thresholds(), "decisions_needed": policy.decisions_needed}


def _to_policy(row: SurfacePolicyRow) -> SurfacePolicy:
    return SurfacePolicy(row.not_camera_fpr, row.unsure_fpr, row.decisions_needed)


def _to_saved(row: SurfacePolicyRow) -> SavedPolicy:
    return SavedPolicy(row.id, row.surface, _to_policy(row), row.actor, row.reason, row.created_at)
