"""What people decided, counted: for thresholds, and for the quality of model and reviewers.

A decision counts unless its reviewer took it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Date, cast, func, select
from sqlalchemy.orm import Session, aliased

from pipeline.quality import Reviewed
from pipeline.records import ItemState, Label, Purpose, VerdictKind
from pipeline.store.effective import NOT_RETRACTED
from pipeline.store.models_review import DecisionRow, ReviewItemRow
from pipeline.store.score_counts import p_bin_of
from pipeline.thresholds import KnownCount


@dataclass(frozen=True, slots=True)
class Pace:
    """How one reviewer worked."""

    reviewer: str
    decisions: int
    median_seconds: float | None
    """None where none of them was timed."""
    p90_seconds: float | None
    golden: int
    """Golden items among them."""
    golden_right: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Open items of one surface and purpose; golden ones, which never close, are none."""

    surface: str
    purpose: Purpose
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Pair:
    """How often the first two reviewers of an item said these two things, neither knowing of the other."""

    surface: str
    first: Label
    second: Label
    count: int


class Quality:
    def __init__(self, session: Session) -> None:
        self._session = session

    def known(self, surface: str, since: datetime) -> list[KnownCount]:
        """Images that people agreed about from `since` on, by p-value and what they are."""
        p_bin = p_bin_of(ReviewItemRow.p_value).label("p_bin")
        rows = self._session.execute(
            select(p_bin, ReviewItemRow.outcome, func.count())
            .where(
                ReviewItemRow.surface == surface,
                ReviewItemRow.p_value.is_not(None),
                ReviewItemRow.outcome.in_([Label.CAMERA, Label.NOT_CAMERA]),
                *_closed(since),
            )
            .group_by(p_bin, ReviewItemRow.outcome)
        )
        return [KnownCount(p_bin, Label(str(outcome)), count) for p_bin, outcome, count in rows]

    def sampled(self, since: datetime) -> list[Reviewed]:
        """Sure verdicts that were drawn at random and decided, by surface, verdict and what people said."""
        which = (ReviewItemRow.surface, ReviewItemRow.kind, ReviewItemRow.outcome)
        rows = self._session.execute(
            select(*which, func.count())
            .where(ReviewItemRow.purpose == Purpose.SAMPLE, *_closed(since))
            .group_by(*which)
            .order_by(*which)
        )
        return [
            Reviewed(surface, VerdictKind(kind), Label(outcome) if outcome else None, count)
            for surface, kind, outcome, count in rows
        ]

    def pairs(self, since: datetime) -> list[Pair]:
        """The first two decisions of items with two reviewers, made from `since` on. A lead's, which ends a dispute,
        is none of them, and golden items are not asked."""
        order = func.row_number().over(partition_by=DecisionRow.review_item_id, order_by=DecisionRow.id)
        first_two = (
            select(DecisionRow.review_item_id, DecisionRow.reviewer, DecisionRow.label, order.label("place"))
            .where(DecisionRow.created_at >= since, DecisionRow.is_final.is_(False), NOT_RETRACTED)
            .cte()
        )
        first, second = aliased(first_two), aliased(first_two)
        which = (ReviewItemRow.surface, first.c.label.label("first"), second.c.label.label("second"))
        rows = self._session.execute(
            select(*which, func.count())
            .select_from(first)
            .join(second, second.c.review_item_id == first.c.review_item_id)
            .join(ReviewItemRow, ReviewItemRow.id == first.c.review_item_id)
            .where(
                first.c.place == 1,
                second.c.place == 2,
                first.c.reviewer != second.c.reviewer,
                ReviewItemRow.purpose != Purpose.GOLDEN,
            )
            .group_by(*which)
        )
        return [Pair(surface, Label(one), Label(two), count) for surface, one, two, count in rows]

    def paces(self, since: datetime) -> list[Pace]:
        """Of everyone who decided anything from `since` on, by name."""
        is_golden = ReviewItemRow.purpose == Purpose.GOLDEN
        rows = self._session.execute(
            select(
                DecisionRow.reviewer,
                func.count(),
                func.percentile_cont(0.5).within_group(DecisionRow.seconds),
                func.percentile_cont(0.9).within_group(DecisionRow.seconds),
                func.count().filter(is_golden),
                func.count().filter(is_golden, DecisionRow.label == ReviewItemRow.golden_label),
            )
            .join(ReviewItemRow, ReviewItemRow.id == DecisionRow.review_item_id)
            .where(DecisionRow.created_at >= since, NOT_RETRACTED)
            .group_by(DecisionRow.reviewer)
            .order_by(DecisionRow.reviewer)
        )
        return [Pace(*row) for row in rows]

    def per_day(self, since: datetime) -> list[tuple[date, int]]:
        """UTC day -> decisions, of the days that had any."""
        day = cast(func.timezone("UTC", DecisionRow.created_at), Date).label("day")
        rows = self._session.execute(
            select(day, func.count()).where(DecisionRow.created_at >= since, NOT_RETRACTED).group_by(day).order_by(day)
        )
        return [(day, count) for day, count in rows]

    def backlog(self) -> Sequence[Backlog]:
        which = (ReviewItemRow.surface, ReviewItemRow.purpose)
        rows = self._session.execute(
            select(*which, func.count(), func.min(ReviewItemRow.created_at))
            .where(ReviewItemRow.state == ItemState.OPEN, ReviewItemRow.purpose != Purpose.GOLDEN)
            .group_by(*which)
            .order_by(*which)
        )
        return [Backlog(surface, Purpose(purpose), count, oldest) for surface, purpose, count, oldest in rows]


def _closed(since: datetime) -> tuple[ColumnElement[bool], ...]:
    return ReviewItemRow.state == ItemState.DECIDED, ReviewItemRow.closed_at >= since
