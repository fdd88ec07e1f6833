"""What reviewers say, and what follows from it. Nothing said is ever changed; it can be taken back for a while."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pipeline.errors import Conflict, NotFound
from pipeline.records import ItemState, Label, Purpose
from pipeline.review.items import Given, Item, Reason
from pipeline.review.ports import Desk
from pipeline.review.queue import check_judge, check_lease, name_of, take
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Statement:
    """What a reviewer says about an image."""

    label: Label
    reason: Reason | None = None
    note: str = ""


def decide(desk: Desk, item_id: int, reviewer: str, said: Statement, settings: Settings) -> Given:
    """Decide an item that the reviewer holds.

    Raises:
        NotFound: no such item.
        Conflict: it is not open any more, somebody else has it, her time was over and it was taken, or she has judged
            the image since on another item, where that bars her.
    """
    reviewer = name_of(reviewer)
    desk.queue.lock(reviewer)
    return _say(desk, _hers(desk, item_id, reviewer), reviewer, said, settings)


def decide_unseen(desk: Desk, item_id: int, reviewer: str, said: Statement, settings: Settings) -> Given:
    """Decide an item that the desk need not have shown: from an own desk of the platform, or the command line.

    Raises: as `take`, and as `decide`.
    """
    reviewer = name_of(reviewer)
    item = take(desk, item_id, reviewer, settings.review, show=False)
    return _say(desk, item, reviewer, said, settings)


def decide_copies(
    desk: Desk, item_id: int, copies: Collection[int], reviewer: str, said: Statement, settings: Settings
) -> list[int]:
    """Decide an item that the reviewer holds, and others alike; returns which of the others.

    Left out are those that somebody else holds, that were decided meanwhile, or that are gone.

    Raises: as `decide`, about `item_id`.
    """
    reviewer = name_of(reviewer)
    desk.queue.lock(reviewer)
    others = sorted(set(copies) - {item_id})
    for each in sorted([item_id, *others]):  # in one order: nobody waits in a circle
        with suppress(NotFound):
            desk.queue.locked(each)
    shown = _hers(desk, item_id, reviewer)
    done = []
    for each in others:
        try:
            item = take(desk, each, reviewer, settings.review, show=False)
        except (Conflict, NotFound):
            continue
        _say(desk, item, reviewer, said, settings)
        done.append(each)
    _say(desk, shown, reviewer, said, settings)  # last, so that undo meets the item that she saw
    return done


def end_dispute(desk: Desk, item_id: int, lead: str, said: Statement, settings: Settings) -> Given:
    """A lead's word where reviewers disagree.

    Raises:
        NotFound: no such item.
        Conflict: nobody disagrees about it, the lead is one of those who do, or it is an appeal and she judged the
            image before.
    """
    lead = name_of(lead)
    desk.queue.lock(lead)
    item = desk.queue.locked(item_id)
    if item.state is not ItemState.DISPUTED:
        raise Conflict(f"review item {item_id} is {item.state.value}, not disputed")
    if not desk.queue.may_decide(lead, item_id):
        raise Conflict(f"{lead} has decided the image of review item {item_id} already: another lead decides")
    return _say(desk, item, lead, said, settings, is_final=True)


def undo(desk: Desk, reviewer: str, settings: Settings, *, decision_id: int | None = None) -> Item:
    """Take back the reviewer's last decision, and give her the item again where it is open and free.

    Args:
        decision_id: which one she means, so that asking twice takes back one; None: the last.

    Raises:
        Conflict: there is none, it is not her last, it is too old, or somebody's decision after it closed the item.
    """
    reviewer = name_of(reviewer)
    desk.queue.lock(reviewer)
    last = desk.decisions.last(reviewer)
    if last is None or decision_id not in (None, last.id):
        raise Conflict("only your last decision can be taken back")
    if last.age > settings.review.undo_window:
        raise Conflict(f"a decision can be taken back for {settings.review.undo_window}, not longer")
    item = desk.queue.locked(last.item_id)
    since = [given for given in desk.decisions.given(item.id) if given.id > last.id]
    if since and item.state in {ItemState.DECIDED, ItemState.DISPUTED}:
        raise Conflict(f"somebody else has decided review item {item.id} since")
    desk.decisions.retract(last.id)
    desk.audit(reviewer, "review.taken_back", f"review_item:{item.id}", decision=last.id, label=last.label.value)
    return _reopen(desk, item, reviewer, settings)


def resolve(given: Sequence[Given], needed: int) -> tuple[ItemState, Label | None]:
    """What decisions make of an item. A final one decides; two different labels are a dispute.

    `cant_tell` is no label: it neither agrees nor disagrees. Where `needed` reviewers say it, that is the outcome.
    """
    final = [each.label for each in given if each.is_final]
    if final:
        return ItemState.DECIDED, final[-1]
    labels = [each.label for each in given if each.label is not Label.CANT_TELL]
    if len(set(labels)) > 1:
        return ItemState.DISPUTED, None
    if len(labels) >= needed:
        return ItemState.DECIDED, labels[0]
    if len(given) - len(labels) >= needed:
        return ItemState.DECIDED, Label.CANT_TELL
    return ItemState.OPEN, None


def _hers(desk: Desk, item_id: int, reviewer: str) -> Item:
    item = desk.queue.locked(item_id)
    check_lease(item, reviewer)
    check_judge(desk, item_id, reviewer)
    return item


def _say(
    desk: Desk, item: Item, reviewer: str, said: Statement, settings: Settings, *, is_final: bool = False
) -> Given:
    decisions = desk.decisions
    note = said.note.strip()
    given = decisions.add(item, reviewer=reviewer, label=said.label, reason=said.reason, note=note, is_final=is_final)
    desk.audit(
        reviewer,
        "dispute.ended" if is_final else "review.decided",
        f"review_item:{item.id}",
        label=said.label.value,
        reason=said.reason and said.reason.value,
        note=note,
    )
    _settle(desk, item, settings)
    return given


def _settle(desk: Desk, item: Item, settings: Settings) -> None:
    """Bring the item, its announcement and the image's verification up to date with the decisions."""
    state, outcome = resolve(desk.decisions.given(item.id), item.decisions_needed)
    if item.purpose is Purpose.GOLDEN:  # the next reviewer gets it, too
        state, outcome = ItemState.OPEN, None
    desk.decisions.settle(item.id, state, outcome)
    desk.decisions.verify(item.sha256, reviewers_needed=settings.retrain.reviewers_needed)
    if outcome is not None:  # said only when it can no longer be taken back
        desk.decisions.announce(item, outcome, after=settings.review.undo_window)


def _reopen(desk: Desk, item: Item, reviewer: str, settings: Settings) -> Item:
    desk.decisions.withdraw_announcement(item)
    somebody_works_on_it = item.is_held and item.held_by != reviewer
    if item.state is ItemState.WITHDRAWN or somebody_works_on_it:  # it stays so, without the label
        desk.decisions.verify(item.sha256, reviewers_needed=settings.retrain.reviewers_needed)
        return item
    _settle(desk, item, settings)
    desk.queue.withdraw_if_gone(item.id)
    item = desk.queue.locked(item.id)
    if item.state is not ItemState.OPEN:
        return item
    desk.queue.release(reviewer, keep=[])
    desk.queue.hold(item.id, reviewer, settings.review.lease)
    return desk.queue.show(item.id, settings.review.lease)
