"""Rows that a statement chooses with a LIMIT and changes at once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select


def once(chosen: Select[Any]) -> Select[Any]:
    """`chosen` as the right side of an IN, worked out once.

    As a bare subquery the planner may run it for each row outside, and locked rows are passed over: every run finds
    others, and more of them are changed than its LIMIT says.
    """
    return select(chosen.cte("chosen").prefix_with("MATERIALIZED"))
