"""The distinct values of an index's first column, in as many steps as there are values, however long the table is."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session


def distinct_values(session: Session, column: InstrumentedAttribute[str], *which: ColumnElement[bool]) -> list[str]:
    """In the index's order; `which`: the rows of a partial index. PostgreSQL has no such scan of its own (its wiki:
    "Loose indexscan")."""
    first = select(column.label("value")).where(*which).order_by(column).limit(1).cte("found", recursive=True)
    following = select(column).where(column > first.c.value, *which).order_by(column).limit(1).scalar_subquery()
    found = first.union_all(select(following).where(first.c.value.is_not(None)))
    return list(session.scalars(select(found.c.value).where(found.c.value.is_not(None))))
