"""What the review desk hands around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pipeline.records import ItemState, Label, Lane, Purpose, VerdictKind


class Order(StrEnum):
    OLDEST = "oldest"
    RISKIEST = "riskiest"
    """Smallest p-value first."""


class Reason(StrEnum):
    """Why a reviewer decided so, from a list short enough for digits."""

    SENSOR_TRACES = "sensor_traces"
    HEADER_FITS = "header_fits"
    KNOWN_SOURCE = "known_source"
    IMPOSSIBLE_DETAIL = "impossible_detail"
    GENERATOR_MARK = "generator_mark"
    DRAWN_OR_RENDERED = "drawn_or_rendered"
    EDITED = "edited"
    SCREEN = "screen"
    POOR_QUALITY = "poor_quality"


class SkipReason(StrEnum):
    """Why a reviewer passes an item on."""

    OTHER = "other"
    NOT_SHOWN = "not_shown"
    """The image does not load."""
    NEEDS_EXPERT = "needs_expert"
    KNOWS_UPLOADER = "knows_uploader"
    DISTURBING = "disturbing"


@dataclass(frozen=True, slots=True)
class Which:
    """Which items a reviewer wants; None: any. Without a purpose: all but appeals, which are a queue of their own."""

    surface: str | None = None
    lane: Lane | None = None
    kind: VerdictKind | None = None
    format: str | None = None
    camera_make: str | None = None
    model_version_id: int | None = None
    min_age: timedelta | None = None
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A verdict that waits for a person, or did."""

    id: int
    verdict_id: int
    upload_id: int
    sha256: str
    purpose: Purpose
    state: ItemState
    surface: str
    lane: Lane
    kind: VerdictKind
    """Of the verdict."""
    format: str | None
    camera_make: str | None
    model_version_id: int
    p_value: float | None
    decisions_needed: int
    golden_label: Label | None
    outcome: Label | None
    held_by: str | None
    """Also after the lease is over, as long as nobody else took it."""
    held_since: datetime | None
    """When the holder was shown it; None while it is only loaded ahead."""
    held_until: datetime | None
    is_held: bool
    """The lease is not over."""
    created_at: datetime
    closed_at: datetime | None

    @property
    def shown_purpose(self) -> Purpose:
        """What a reviewer is told: nobody can tell a golden item from others."""
        if self.purpose is not Purpose.GOLDEN:
            return self.purpose
        return Purpose.UNSURE if self.kind is VerdictKind.UNSURE else Purpose.SAMPLE


@dataclass(frozen=True, slots=True)
class Given:
    """A decision that was not taken back."""

    id: int
    item_id: int
    reviewer: str
    label: Label
    reason: Reason | None
    note: str
    seconds: float | None
    """From the item's being shown; None where it was decided without (bulk, API)."""
    is_final: bool
    created_at: datetime
    age: timedelta


def as_told(item: Item, given: Sequence[Given], reviewer: str, *, may_undo: bool) -> tuple[Item, list[Given]]:
    """The item and the decisions on it, as a reviewer may know them.

    Who has decided an open item, or can still take her word back (`may_undo`), sees it as decided by herself alone:
    else she could look whether others agree, or whether it was a golden one, and then decide anew.
    """
    hers = [each for each in given if each.reviewer == reviewer]
    if hers and (may_undo or item.state is ItemState.OPEN):
        last = hers[-1]
        return replace(item, state=ItemState.DECIDED, outcome=last.label, closed_at=last.created_at), hers
    return item, [] if item.state is ItemState.OPEN else list(given)


@dataclass(frozen=True, slots=True)
class Listed:
    """An item in a list, with what a reader wants to see of its upload."""

    item: Item
    key: str
    model_version: str


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden item, as leads see it."""

    item_id: int
    upload_id: int
    key: str
    label: Label
    answers: int
    right: int


@dataclass(frozen=True, slots=True)
class Appeal:
    """Somebody says that a verdict is wrong."""

    id: int
    item_id: int
    upload_id: int
    statement: str
    appellant: str | None
    """Opaque to Lenswatch."""
    submitted_by: str
    """Name of the API key."""
    created_at: datetime
    state: ItemState
    outcome: Label | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What people decided about an upload's verdict, last."""

    outcome: Label
    decided_at: datetime
