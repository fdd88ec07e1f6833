"""People answer where the model is unsure. Two reviewers who agree make a photograph that retraining may trust."""

from __future__ import annotations

from typing import Protocol

from pipeline.records import Label


class ReviewStore(Protocol):
    """The review queue, in the caller's transaction; `pipeline.store.Reviews`."""

    def decide(self, item_id: int, *, reviewer: str, label: str, note: str) -> int: ...


def decide(reviews: ReviewStore, item_id: int, *, reviewer: str, label: Label, note: str = "") -> int:
    """Say what an item is; returns the decision's id. It is audited, and never changed.

    Case and spaces around a reviewer's name do not count: nobody becomes two reviewers by spelling.

    Raises:
        ValueError: the reviewer has no name.
        NotFound: no such item.
        Conflict: this reviewer decided it before, or a newer model answered meanwhile.
    """
    name = reviewer.strip().casefold()
    if not name:
        raise ValueError("a decision needs a reviewer")
    return reviews.decide(item_id, reviewer=name, label=label, note=note.strip())
