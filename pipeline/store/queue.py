"""The review queue: items, and the leases under which reviewers hold them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import NotFound
from pipeline.records import ItemState, Label, Lane, Purpose, VerdictKind
from pipeline.review.items import Item, Listed, Order, SkipReason, Which
from pipeline.store.effective import decided_by, judged_by
from pipeline.store.loose_scan import distinct_values
from pipeline.store.models import UploadRow, VerdictRow
from pipeline.store.models_ops import ModelVersionRow
from pipeline.store.models_review import ReviewItemRow, SkipRow

OPEN = ReviewItemRow.state == literal_column("'open'")
"""Not a parameter: the partial indexes are found by it."""
MOST = 1000
"""Items of one surface that are counted; then there are "at least so many"."""
IS_HELD = func.coalesce(ReviewItemRow.held_until > func.now(), False)
USUAL = ReviewItemRow.purpose.in_([literal_column("'unsure'"), literal_column("'sample'")])
"""The queue without appeals, and without golden items, which are mixed in."""
FRESH = {"populate_existing": True}
"""What a session has read of a row before is read again."""
_IS_DELETED = exists().where(UploadRow.id == ReviewItemRow.upload_id, UploadRow.deleted_at.is_not(None))
_NOBODY: dict[str, Any] = {"held_by": None, "held_since": None, "held_until": None}


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last item of a page."""

    id: int
    p_value: float | None = None


class Queue:
    """Implements `review.ports.QueueStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lock(self, reviewer: str) -> None:
        self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"reviewer:{reviewer}", 0))))

    def get(self, item_id: int) -> Item:
        """Raises NotFound."""
        return self._one(_items().where(ReviewItemRow.id == item_id), item_id)

    def locked(self, item_id: int) -> Item:
        return self._one(_items().where(ReviewItemRow.id == item_id).with_for_update(), item_id)

    def held(self, reviewer: str, which: Which) -> list[Item]:
        mine = _items().where(
            ReviewItemRow.held_by == reviewer, OPEN, IS_HELD, _fits(which), _in_queue(which), ~_barred(reviewer)
        )
        shown_first = mine.order_by(ReviewItemRow.held_since.nulls_last(), ReviewItemRow.id)
        rows = self._session.execute(shown_first.with_for_update().execution_options(**FRESH))
        return [to_item(*row) for row in rows]

    def peek(self, reviewer: str) -> list[Item]:
        """All that is under her lease; not locked."""
        mine = _items().where(ReviewItemRow.held_by == reviewer, OPEN, IS_HELD)
        return [to_item(*row) for row in self._session.execute(mine)]

    def free(self, reviewer: str, which: Which, order: Order) -> Item | None:
        free = ~IS_HELD & ~decided_by(reviewer) & ~_skipped_by(reviewer)
        if which.purpose is Purpose.APPEAL:
            free &= ~judged_by(reviewer)
        found = _items().where(OPEN, _purposes(which), _fits(which), free)
        return self._first(found.order_by(*_by(order)))

    def free_golden(self, reviewer: str, which: Which) -> Item | None:
        golden = (ReviewItemRow.purpose == Purpose.GOLDEN) & _golden_fits(which) & ~_IS_DELETED
        found = _items().where(OPEN, golden, _fits(which), ~IS_HELD, ~judged_by(reviewer), ~_skipped_by(reviewer))
        return self._first(found.order_by(ReviewItemRow.id))

    def may_decide(self, reviewer: str, item_id: int) -> bool:
        return not self._session.scalars(select(_barred(reviewer)).where(ReviewItemRow.id == item_id)).one()

    def hold(self, item_id: int, reviewer: str, lease: timedelta) -> Item:
        return self._set(item_id, held_by=reviewer, held_since=None, held_until=func.now() + lease)

    def show(self, item_id: int, lease: timedelta) -> Item:
        return self._set(item_id, held_since=func.now(), held_until=func.now() + lease)

    def release(self, reviewer: str, *, keep: Collection[int]) -> None:
        hers = select(ReviewItemRow.id).where(ReviewItemRow.held_by == reviewer, ReviewItemRow.id.not_in(keep))
        free = hers.with_for_update(skip_locked=True)  # one that somebody takes just now is not waited for
        self._session.execute(update(ReviewItemRow).where(ReviewItemRow.id.in_(free)).values(_NOBODY))

    def skip(self, item_id: int, reviewer: str, reason: SkipReason) -> None:
        skipped = insert(SkipRow).values(review_item_id=item_id, reviewer=reviewer, reason=reason.value)
        self._session.execute(skipped.on_conflict_do_nothing())
        self._set(item_id, **_NOBODY)

    def withdraw_if_gone(self, item_id: int) -> None:
        superseded = exists().where(VerdictRow.id == ReviewItemRow.verdict_id, VerdictRow.superseded_at.is_not(None))
        withdraw(self._session, (ReviewItemRow.id == item_id) & (superseded | _IS_DELETED))

    def page(
        self,
        which: Which,
        order: Order = Order.OLDEST,
        *,
        reader: str | None = None,
        after: Cursor | None = None,
        limit: int = 50,
    ) -> list[Listed]:
        """Open items, golden ones left out, from the one after `after` on.

        Nor those that `reader` holds: where all of them but golden ones were listed, the list would tell golden ones.
        """
        found = select(ReviewItemRow, IS_HELD, UploadRow.object_key, ModelVersionRow.name)
        rows = self._session.execute(
            found.join(UploadRow, UploadRow.id == ReviewItemRow.upload_id)
            .join(ModelVersionRow, ModelVersionRow.id == ReviewItemRow.model_version_id)
            .where(OPEN, _purposes(which), _fits(which), _beyond(after, order), ~_held_by(reader))
            .order_by(*_by(order))
            .limit(limit)
        )
        return [Listed(to_item(row, is_held), key, model) for row, is_held, key, model in rows]

    def backlog(self, purpose: Purpose | None = None) -> dict[str, int]:
        """Surface -> items that wait, counted up to `MOST`; of this purpose, or all but appeals and golden items."""
        surfaces = distinct_values(self._session, ReviewItemRow.surface, OPEN)
        named = select(func.unnest(cast(surfaces, ARRAY(Text))).label("surface")).subquery()
        waiting = select(ReviewItemRow.id).where(
            OPEN, ReviewItemRow.surface == named.c.surface, _purposes(Which(purpose=purpose))
        )
        first = waiting.limit(MOST).correlate(named).subquery()
        count = select(func.count()).select_from(first).scalar_subquery()
        return {surface: number for surface, number in self._session.execute(select(named.c.surface, count)) if number}

    def disputed(self, *, after: int = 0, limit: int = 50) -> list[Item]:
        """Oldest first."""
        rows = _items().where(ReviewItemRow.state == literal_column("'disputed'"), ReviewItemRow.id > after)
        return [to_item(*row) for row in self._session.execute(rows.order_by(ReviewItemRow.id).limit(limit))]

    def _one(self, rows: Select[ReviewItemRow, bool], item_id: int) -> Item:
        row = self._session.execute(rows.execution_options(**FRESH)).one_or_none()
        if row is None:
            raise NotFound(f"review item {item_id}")
        return to_item(*row)

    def _first(self, rows: Select[ReviewItemRow, bool]) -> Item | None:
        first = rows.limit(1).with_for_update(skip_locked=True, of=ReviewItemRow)
        row = self._session.execute(first.execution_options(**FRESH)).one_or_none()
        return to_item(*row) if row else None

    def _set(self, item_id: int, **values: Any) -> Item:
        changed = update(ReviewItemRow).where(ReviewItemRow.id == item_id).values(values)
        row = self._session.execute(changed.returning(ReviewItemRow, IS_HELD), execution_options=FRESH).one()
        return to_item(*row)


def withdraw(session: Session, which: ColumnElement[bool]) -> None:
    """End these items where they wait: what they ask about is gone. Appeals are heard and golden items serve on."""
    waits = ReviewItemRow.state.in_([ItemState.OPEN, ItemState.DISPUTED])
    values = {"state": ItemState.WITHDRAWN, "closed_at": func.now(), **_NOBODY}
    session.execute(update(ReviewItemRow).where(which, waits, USUAL).values(values))


def to_item(row: ReviewItemRow, is_held: bool) -> Item:
    return Item(
        id=row.id,
        verdict_id=row.verdict_id,
        upload_id=row.upload_id,
        sha256=row.sha256,
        purpose=Purpose(row.purpose),
        state=ItemState(row.state),
        surface=row.surface,
        lane=Lane(row.lane),
        kind=VerdictKind(row.kind),
        format=row.format,
        camera_make=row.camera_make,
        model_version_id=row.model_version_id,
        p_value=row.p_value,
        decisions_needed=row.decisions_needed,
        golden_label=Label(row.golden_label) if row.golden_label else None,
        outcome=Label(row.outcome) if row.outcome else None,
        held_by=row.held_by,
        held_since=row.held_since,
        held_until=row.held_until,
        is_held=is_held,
        created_at=row.created_at,
        closed_at=row.closed_at,
    )


def _items() -> Select[ReviewItemRow, bool]:
    return select(ReviewItemRow, IS_HELD.label("is_held"))


def _by(order: Order) -> tuple[Any, ...]:
    return (ReviewItemRow.p_value, ReviewItemRow.id) if order is Order.RISKIEST else (ReviewItemRow.id,)


def _held_by(reader: str | None) -> ColumnElement[bool]:
    return false() if reader is None else func.coalesce(ReviewItemRow.held_by == reader, False) & IS_HELD


def _beyond(after: Cursor | None, order: Order) -> ColumnElement[bool]:
    """Items without a p-value come last."""
    if after is None:
        return true()
    if order is Order.OLDEST:
        return ReviewItemRow.id > after.id
    if after.p_value is None:
        return ReviewItemRow.p_value.is_(None) & (ReviewItemRow.id > after.id)
    return or_(
        tuple_(ReviewItemRow.p_value, ReviewItemRow.id) > tuple_(after.p_value, after.id),
        ReviewItemRow.p_value.is_(None),
    )


def _purposes(which: Which) -> ColumnElement[bool]:
    if which.purpose is None:
        return USUAL
    return ReviewItemRow.purpose == literal_column(f"'{which.purpose.value}'")


def _golden_fits(which: Which) -> ColumnElement[bool]:
    """Whether golden items pass for what was asked for: they say no appeal, and have the kind that the purpose has."""
    is_unsure = ReviewItemRow.kind == VerdictKind.UNSURE
    fits = {None: true(), Purpose.UNSURE: is_unsure, Purpose.SAMPLE: ~is_unsure}
    return fits.get(which.purpose, ~true())


def _in_queue(which: Which) -> ColumnElement[bool]:
    return or_(_purposes(which), and_(ReviewItemRow.purpose == Purpose.GOLDEN, _golden_fits(which)))


def _fits(which: Which) -> ColumnElement[bool]:
    row = ReviewItemRow
    wanted: list[tuple[Any, Any]] = [
        (row.surface, which.surface),
        (row.lane, which.lane),
        (row.kind, which.kind),
        (row.format, which.format),
        (row.camera_make, which.camera_make),
        (row.model_version_id, which.model_version_id),
    ]
    fits = [column == value for column, value in wanted if value is not None]
    if which.min_age is not None:
        fits.append(row.created_at <= func.now() - which.min_age)
    return and_(true(), *fits)


def _barred(reviewer: str) -> ColumnElement[bool]:
    is_strict = ReviewItemRow.purpose.in_([Purpose.APPEAL, Purpose.GOLDEN])
    return decided_by(reviewer) | (is_strict & judged_by(reviewer))


def _skipped_by(reviewer: str) -> ColumnElement[bool]:
    return select(1).where(SkipRow.review_item_id == ReviewItemRow.id, SkipRow.reviewer == reviewer).exists()
