"""Items are given out one at a time, under a lease: nobody works on what somebody else has before her."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import Conflict
from pipeline.records import ItemState
from pipeline.review.golden import is_golden_turn
from pipeline.review.items import Item, Order, SkipReason, Which
from pipeline.review.ports import Desk
from pipeline.settings import ReviewSettings

AHEAD = 1
"""Items that a reviewer holds beside the one she sees, to be loaded meanwhile."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a reviewer sees now, and what she will see next."""

    item: Item
    ahead: Item | None


def claim_next(desk: Desk, reviewer: str, which: Which, order: Order, settings: ReviewSettings) -> Turn | None:
    """The reviewer's next item, and hold the one after it; None where nothing waits.

    What she holds already comes first, so asking again gives the same item; what she holds outside of `which` goes
    back.
    """
    reviewer = name_of(reviewer)
    desk.queue.lock(reviewer)
    mine = desk.queue.held(reviewer, which)[: 1 + AHEAD]
    desk.queue.release(reviewer, keep=[item.id for item in mine])
    while len(mine) < 1 + AHEAD and (drawn := _draw(desk, reviewer, which, order, settings)):
        mine.append(drawn)
    if not mine:
        return None
    item, *ahead = mine
    if item.held_since is None:
        item = desk.queue.show(item.id, settings.lease)
    return Turn(item, ahead[0] if ahead else None)


def take(desk: Desk, item_id: int, reviewer: str, settings: ReviewSettings, *, show: bool = True) -> Item:
    """Hold this very item. Her time begins only where it is shown.

    Raises:
        NotFound: no such item.
        Conflict: it is not open, somebody else has it, or she decided it before.
    """
    reviewer = name_of(reviewer)
    desk.queue.lock(reviewer)
    item = desk.queue.locked(item_id)
    if item.state is not ItemState.OPEN:
        raise Conflict(f"review item {item_id} is {item.state.value}")
    if item.is_held and item.held_by != reviewer:
        raise Conflict(f"somebody else has review item {item_id}")
    check_judge(desk, item_id, reviewer)
    if not (item.is_held and item.held_since):
        item = desk.queue.hold(item_id, reviewer, settings.lease)
    if show:
        desk.queue.release(reviewer, keep=[item_id])
        item = item if item.held_since else desk.queue.show(item_id, settings.lease)
    return item


def skip(desk: Desk, item_id: int, reviewer: str, reason: SkipReason) -> None:
    """Pass an item on to others. Raises NotFound, or Conflict where she does not hold it."""
    reviewer = name_of(reviewer)
    desk.queue.lock(reviewer)
    check_lease(desk.queue.locked(item_id), reviewer)
    desk.queue.skip(item_id, reviewer, reason)
    desk.audit(reviewer, "review.skipped", f"review_item:{item_id}", reason=reason.value)


def check_lease(item: Item, reviewer: str) -> None:
    """A lease that is over still serves, as long as nobody else took the item. Raises Conflict."""
    if item.state is not ItemState.OPEN:
        raise Conflict(f"review item {item.id} is {item.state.value}: {_WHY[item.state]}")
    if item.held_by == reviewer:
        return
    if item.held_by is not None and item.is_held:
        raise Conflict(f"somebody else has review item {item.id}")
    raise Conflict(f"your time for review item {item.id} was over: take it again")


def check_judge(desk: Desk, item_id: int, reviewer: str) -> None:
    """Raises Conflict where `QueueStore.may_decide` says no."""
    if not desk.queue.may_decide(reviewer, item_id):
        raise Conflict(f"{reviewer} has decided this image already")


_WHY = {
    ItemState.DISPUTED: "reviewers disagree, and a lead decides",
    ItemState.DECIDED: "enough reviewers have decided it",
    ItemState.WITHDRAWN: "a newer model has answered, or the object is gone",
}


def name_of(reviewer: str) -> str:
    """Case and spaces around a name do not count: nobody becomes two reviewers by spelling.

    Raises:
        ValueError: there is no name.
    """
    name = reviewer.strip().casefold()
    if not name:
        raise ValueError("a decision needs a reviewer")
    return name


def _draw(desk: Desk, reviewer: str, which: Which, order: Order, settings: ReviewSettings) -> Item | None:
    item = desk.queue.free(reviewer, which, order)
    if item is None:  # a golden item alone would be known as one
        return None
    if settings.golden_share and (golden := desk.queue.free_golden(reviewer, which)):
        last = desk.decisions.last(reviewer)
        if is_golden_turn(reviewer, last.id if last else 0, golden.id, settings.golden_share):
            item = golden
    return desk.queue.hold(item.id, reviewer, settings.lease)
