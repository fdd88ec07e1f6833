"""Golden items: their answer is known, so they measure reviewers, who cannot tell them from others."""

from __future__ import annotations

from pipeline.verdict import is_drawn


def is_golden_turn(reviewer: str, last_decision: int, golden_item: int, share: float) -> bool:
    """Whether a reviewer's next item is this golden one; so it is for `share` of them.

    It follows from who she is, what she decided last and which golden item is next: loading a page again does not
    throw the dice again, and skipping a golden item does not bring the next.
    """
    return is_drawn(f"{reviewer}:{last_decision}:{golden_item}", share)
