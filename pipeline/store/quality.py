"""What people decided, counted: for thresholds, and for the quality of model and reviewers.

A decision counts unless its reviewer took it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import CTE, ColumnElement, Date, cast, func, select, true
from sqlalchemy.orm import Session

from pipeline.quality import Reviewed
from pipeline.records import ItemState, Label, Purpose, VerdictKind
from pipeline.store.loose_scan import distinct_values
from pipeline.store.models_review import DecisionRow, RetractionRow, ReviewItemRow
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
        decision = _recent(since)
        order = func.row_number().over(partition_by=decision.c.review_item_id, order_by=decision.c.id)
        blind = (
            select(decision.c.review_item_id, decision.c.reviewer, decision.c.label, order.label("place"))
            .where(decision.c.is_final.is_(False))
            .cte("blind")
        )
        first, second = blind.alias("first"), blind.alias("second")
        item = (  # one look-up a pair, however many items there are
            select(ReviewItemRow.surface, ReviewItemRow.purpose)
            .where(ReviewItemRow.id == first.c.review_item_id)
            .limit(1)
            .lateral("item")
        )
        which = (item.c.surface, first.c.label, second.c.label)
        rows = self._session.execute(
            select(*which, func.count())
            .select_from(first)
            .join(second, second.c.review_item_id == first.c.review_item_id)
            .join(item, true())
            .where(
                first.c.place == 1,
                second.c.place == 2,
                first.c.reviewer != second.c.reviewer,
                item.c.purpose != Purpose.GOLDEN,
            )
            .group_by(*which)
        )
        return [Pair(surface, Label(one), Label(two), count) for surface, one, two, count in rows]

    def paces(self, since: datetime) -> list[Pace]:
        """Of everyone who decided anything from `since` on, by name."""
        decision = _recent(since)
        rows = self._session.execute(
            select(
                decision.c.reviewer,
                func.count(),
                func.percentile_cont(0.5).within_group(decision.c.seconds),
                func.percentile_cont(0.9).within_group(decision.c.seconds),
            )
            .group_by(decision.c.reviewer)
            .order_by(decision.c.reviewer)
        )
        golden = self._golden(since)
        return [
            Pace(reviewer, count, median, p90, *golden.get(reviewer, (0, 0))) for reviewer, count, median, p90 in rows
        ]

    def _golden(self, since: datetime) -> dict[str, tuple[int, int]]:
        """Reviewer -> golden items decided, and how many of them rightly."""
        decision = _recent(since)
        is_right = decision.c.label == ReviewItemRow.golden_label
        rows = self._session.execute(
            select(decision.c.reviewer, func.count(), func.count().filter(is_right))
            .join(ReviewItemRow, ReviewItemRow.id == decision.c.review_item_id)
            .where(ReviewItemRow.purpose == Purpose.GOLDEN, ReviewItemRow.state == ItemState.OPEN)
            .group_by(decision.c.reviewer)
        )
        return {reviewer: (count, right) for reviewer, count, right in rows}

    def per_day(self, since: datetime) -> list[tuple[date, int]]:
        """UTC day -> decisions, of the days that had any."""
        decision = _recent(since)
        day = cast(func.timezone("UTC", decision.c.created_at), Date).label("day")
        rows = self._session.execute(select(day, func.count()).group_by(day).order_by(day))
        return [(day, count) for day, count in rows]

    def backlog(self) -> list[Backlog]:
        """By surface and purpose, out of one index."""
        is_open = ReviewItemRow.state == ItemState.OPEN
        surfaces = distinct_values(self._session, ReviewItemRow.surface, is_open)
        which = (ReviewItemRow.surface, ReviewItemRow.purpose)
        rows = self._session.execute(
            select(*which, func.count(), func.min(ReviewItemRow.created_at))
            .where(
                is_open,
                ReviewItemRow.surface.in_(surfaces),
                ReviewItemRow.purpose.in_([purpose for purpose in Purpose if purpose is not Purpose.GOLDEN]),
            )
            .group_by(*which)
            .order_by(*which)
        )
        return [Backlog(surface, Purpose(purpose), count, oldest) for surface, purpose, count, oldest in rows]


def _closed(since: datetime) -> tuple[ColumnElement[bool], ...]:
    return ReviewItemRow.state == ItemState.DECIDED, ReviewItemRow.closed_at >= since


def _recent(since: datetime) -> CTE:
    """Decisions from then on that were not taken back, read by their index on time whatever is done with them."""
    columns = ("id", "review_item_id", "reviewer", "label", "seconds", "is_final", "created_at")
    every = (
        select(*(getattr(DecisionRow, name) for name in columns))
        .where(DecisionRow.created_at >= since)
        .cte("every")
        .prefix_with("MATERIALIZED")
    )
    is_retracted = select(1).where(RetractionRow.decision_id == every.c.id).exists()
    return select(every).where(~is_retracted).cte("decision")
