"""Drift snapshots, to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from pipeline.store.loose_scan import distinct_values
from pipeline.store.models_ops import DriftSnapshotRow, ModelVersionRow


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """One surface's window, as it was saved."""

    surface: str
    model_version: str
    start: datetime
    end: datetime
    count: int
    """Images in it."""
    statistics: Mapping[str, Mapping[str, Any]]
    """Name -> the fields of `pipeline.drift.Statistic`."""
    alerts: Sequence[str]


class DriftHistory:
    def __init__(self, session: Session) -> None:
        self._session = session

    def surfaces(self) -> list[str]:
        """That ever had a snapshot."""
        return distinct_values(self._session, DriftSnapshotRow.surface)

    def of(self, surface: str, since: datetime) -> list[SavedSnapshot]:
        """Windows that began at `since` or later, oldest first."""
        rows = self._session.execute(
            _snapshots()
            .where(DriftSnapshotRow.surface == surface, DriftSnapshotRow.period_start >= since)
            .order_by(DriftSnapshotRow.period_start, DriftSnapshotRow.id)
        )
        return [_to_snapshot(*row) for row in rows]

    def alerted(self, since: datetime, *, limit: int = 100) -> list[SavedSnapshot]:
        """Those of any surface that raised an alert, newest first."""
        some = func.cardinality(DriftSnapshotRow.alerts) > 0
        rows = self._session.execute(
            _snapshots()
            .where(DriftSnapshotRow.surface.in_(self.surfaces()), DriftSnapshotRow.period_start >= since, some)
            .order_by(DriftSnapshotRow.period_start.desc(), DriftSnapshotRow.id.desc())
            .limit(limit)
        )
        return [_to_snapshot(*row) for row in rows]


def _snapshots() -> Select[DriftSnapshotRow, str]:
    return select(DriftSnapshotRow, ModelVersionRow.name).join(
        ModelVersionRow, ModelVersionRow.id == DriftSnapshotRow.model_version_id
    )


def _to_snapshot(row: DriftSnapshotRow, model: str) -> SavedSnapshot:
    return SavedSnapshot(row.surface, model, row.period_start, row.period_end, row.count, row.statistics, row.alerts)
