"""Rows, with all that hangs on them: by this erasure and retention delete.

Foreign keys say what hangs on what, so a table that is added tomorrow is emptied, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Table, any_, delete, func, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from pipeline.store.base import Base

SQLColumn = ColumnElement[Any] | InstrumentedAttribute[Any]


@dataclass(frozen=True, slots=True)
class Branch:
    """The doomed rows of one table."""

    table: Table
    rows: ColumnElement[bool]
    keys: Sequence[Any]
    """Values of the primary key's first column, one per row."""


def tree(session: Session, root: Table, keys: Iterable[Any], *, lock: bool) -> list[Branch]:
    """These rows of `root` and all from which foreign keys lead to them, parents first.

    `lock`: until the transaction's end nobody changes them, or adds a row that hangs on them.
    """
    branches: dict[Table, Branch] = {}
    for table in Base.metadata.sorted_tables:
        if table is root:
            rows = among(_key(table), list(keys))
        elif links := [link for link in table.foreign_keys if link.column.table in branches]:
            rows = or_(*(among(link.parent, branches[link.column.table].keys) for link in links))
        else:
            continue
        found = select(_key(table)).where(rows)
        branches[table] = Branch(table, rows, session.scalars(found.with_for_update() if lock else found).all())
    return list(branches.values())


def remove(session: Session, branches: Sequence[Branch]) -> Counter[str]:
    """Delete what `tree` found, children first; returns table -> rows."""
    with append_only_lifted(session):
        for branch in reversed(branches):
            if branch.keys:
                session.execute(delete(branch.table).where(branch.rows))
    return sizes(branches)


def sizes(branches: Iterable[Branch]) -> Counter[str]:
    """Table -> rows; tables without any are left out."""
    return Counter({branch.table.name: len(branch.keys) for branch in branches if branch.keys})


@contextmanager
def append_only_lifted(session: Session) -> Iterator[None]:
    """Let this transaction delete from append-only tables (never update or truncate them): docs/adr/0009."""
    session.execute(select(func.set_config("lenswatch.erasure", "on", True)))  # True: this transaction's alone
    yield  # after an error the transaction is over, and the setting with it
    session.execute(select(func.set_config("lenswatch.erasure", "off", True)))


def among(column: SQLColumn, values: Sequence[Any]) -> ColumnElement[bool]:
    """`column = ANY(values)`: one parameter, however many values, and an index's matter."""
    return column == any_(literal(list(values), ARRAY(column.type)))


def _key(table: Table) -> ColumnElement[Any]:
    return next(iter(table.primary_key))
