"""Verdicts counted by surface, hour and p-value: what a change of thresholds would do, without reading scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, SmallInteger, Text, cast, delete, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from pipeline.read_out import HANDLING
from pipeline.records import DOUBT, Handling, VerdictKind
from pipeline.store.loose_scan import distinct_values
from pipeline.store.models import ScoreRow, UploadRow, VerdictRow
from pipeline.store.models_ops import ModelVersionRow
from pipeline.store.models_review import ScoreCountRow, SurfacePolicyRow
from pipeline.thresholds import BINS, ScoreCount

_SOFT = json.dumps([{"tag": HANDLING, "predicted": Handling.SOFT.name.lower()}])
"""What the EXIF predictions of a soft image contain: `read_out.is_soft`."""

_IS_SOFT = ScoreRow.exif_predictions.contains(cast(literal(_SOFT, Text), JSONB))
_SIZES_DISAGREE = func.coalesce((ScoreRow.full_size_p_value <= DOUBT) != (ScoreRow.half_size_p_value <= DOUBT), False)
"""As in `verdict.withheld`; there is none of both in scores from before there was a second look."""

_WHICH = (ScoreCountRow.p_bin, ScoreCountRow.kind, ScoreCountRow.is_withheld)


class ScoreCounts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def rebuild(self, start: datetime, end: datetime) -> int:
        """Count the verdicts given from `start` up to, not including, `end` anew; returns the rows.

        Both are beginnings of hours; of merged days, of days. A repeated run writes the same rows, but where verdicts
        were erased since.
        """
        of_these_hours = ScoreCountRow.hour >= start, ScoreCountRow.hour < end
        self._session.execute(
            delete(ScoreCountRow).where(
                ScoreCountRow.surface.in_(distinct_values(self._session, ScoreCountRow.surface)), *of_these_hours
            )
        )
        names = [column.name for column in ScoreCountRow.__table__.columns]
        counted = insert(ScoreCountRow).from_select(names, _counted(start, end))
        written = self._session.execute(  # another run may have written them meanwhile
            counted.on_conflict_do_update(
                index_elements=list(ScoreCountRow.__table__.primary_key), set_={"count": counted.excluded.count}
            ).returning(literal(1))
        )
        return len(written.all())

    def merge(self, day: datetime) -> None:
        """Put the hours of the UTC day that begins at `day` together, unless they are. Only for days that are over: an
        hour of a merged day cannot be rebuilt alone."""
        surfaces = distinct_values(self._session, ScoreCountRow.surface)
        that_day = (
            ScoreCountRow.surface.in_(surfaces),
            ScoreCountRow.hour >= day,
            ScoreCountRow.hour < day + timedelta(days=1),
        )
        if self._session.scalars(select(1).where(*that_day, ScoreCountRow.hour > day).limit(1)).first() is None:
            return
        columns = [ScoreCountRow.surface, ScoreCountRow.model_version_id, *_WHICH]
        hours = delete(ScoreCountRow).where(*that_day).returning(*columns, ScoreCountRow.count).cte("hours")
        *keys, count = hours.c
        merged = select(*keys, literal(day), func.sum(count)).group_by(*keys)
        names = [column.name for column in keys]
        self._session.execute(insert(ScoreCountRow).from_select([*names, "hour", "count"], merged))

    def surfaces(self) -> list[str]:
        """That were counted, or that a lead saved a policy for; by name."""
        counted = distinct_values(self._session, ScoreCountRow.surface)
        return sorted({*counted, *distinct_values(self._session, SurfacePolicyRow.surface)})

    def of(self, surface: str, since: datetime) -> list[ScoreCount]:
        """What was counted from `since` on, over all model versions: p-values of all of them mean the same."""
        rows = self._session.execute(
            select(*_WHICH, func.sum(ScoreCountRow.count))
            .where(ScoreCountRow.surface == surface, ScoreCountRow.hour >= since)
            .group_by(*_WHICH)
            .order_by(*_WHICH)
        )
        return [ScoreCount(p_bin, VerdictKind(kind), withheld, count) for p_bin, kind, withheld, count in rows]

    def kinds(self, surfaces: Iterable[str], since: datetime) -> Mapping[str, Mapping[VerdictKind, int]]:
        """Surface -> kind -> verdicts from `since` on, of images that were scored."""
        rows = self._session.execute(
            select(ScoreCountRow.surface, ScoreCountRow.kind, func.sum(ScoreCountRow.count))
            .where(ScoreCountRow.surface.in_(list(surfaces)), ScoreCountRow.hour >= since)
            .group_by(ScoreCountRow.surface, ScoreCountRow.kind)
        )
        found: dict[str, dict[VerdictKind, int]] = {}
        for surface, kind, count in rows:
            found.setdefault(surface, {})[VerdictKind(kind)] = count
        return found


def p_bin_of(p_value: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[int]:
    """`thresholds.ScoreCount.p_bin`."""
    return cast(func.greatest(1, func.least(BINS, func.ceil(BINS * p_value))), SmallInteger)


def _counted(start: datetime, end: datetime) -> Any:
    """By the verdicts' index on model version and time, so every version is named."""
    versions = func.array(select(ModelVersionRow.id).scalar_subquery())
    groups: tuple[Any, ...] = (
        UploadRow.surface,
        func.date_trunc("hour", VerdictRow.created_at, "UTC").label("hour"),
        VerdictRow.model_version_id,
        p_bin_of(ScoreRow.p_value).label("p_bin"),
        VerdictRow.kind,
        (_IS_SOFT | _SIZES_DISAGREE).label("is_soft"),
    )
    return (
        select(*groups, func.count())
        .join(UploadRow, UploadRow.id == VerdictRow.upload_id)
        .join(
            ScoreRow,
            (ScoreRow.sha256 == VerdictRow.sha256) & (ScoreRow.model_version_id == VerdictRow.model_version_id),
        )
        .where(
            VerdictRow.model_version_id == func.any(versions),
            VerdictRow.created_at >= start,
            VerdictRow.created_at < end,
        )
        .group_by(*groups)
    )
