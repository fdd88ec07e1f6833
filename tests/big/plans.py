"""Which statements read more of a table than they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event

SMALL = frozenset(
    {
        "accounts",
        "alembic_version",
        "erasures",
        "job_runs",
        "model_alias_history",
        "model_aliases",
        "model_versions",
        "sessions",
        "surface_policies",
    }
)
"""Tables that hold hundreds of rows at most, whatever is uploaded: reading all of one is no scan."""

MOST = 1500
"""Rows of one table that a statement may look at."""

REMOVED = ("Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter")

ASKS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")

Plan = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    sql: str
    parameters: Any


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[Statement]]:
    """What is sent to the database within the block; the same text with the same values once."""
    sent: dict[str, Statement] = {}

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        if sql.lstrip().upper().startswith(ASKS):
            sent.setdefault(f"{sql} {parameters}", Statement(sql, parameters[0] if many else parameters))
            found[:] = sent.values()

    found: list[Statement] = []
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def offences(connection: Connection, statement: Statement, most: int = MOST) -> list[str]:
    """The steps of a statement's plan that scan: a big table, all of an index of it, or more than `most` rows of it.

    Scanning and sorting are forbidden to the planner here: where it still does, no index serves the statement, on a
    table of any size. An index may be walked along without a condition only where a `LIMIT` ends the walk. The statement
    is run, to count rows that are read and thrown away, and taken back.
    """
    for way in ("seqscan", "bitmapscan", "sort"):
        connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    explain = f"EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) {statement.sql}"
    plan = connection.exec_driver_sql(explain, statement.parameters).scalar_one()
    connection.rollback()
    return [f"{step} {rows} rows" for step, rows, looks_up in _steps(plan[0]["Plan"]) if rows > most or not looks_up]


def _steps(node: Plan, *, is_limited: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Each read of a big table: what it is, rows looked at, and whether it looks up rather than scans."""
    kind, name = node["Node Type"], node.get("Relation Name", node.get("Index Name"))
    if name is not None and name not in SMALL:
        rows = node["Actual Loops"] * (node["Actual Rows"] + sum(node.get(removed, 0) for removed in REMOVED))
        said = f"{kind} on {name} {node.get('Index Name', '')} {node.get('Filter', '')}".strip()
        yield said, round(rows), _looks_up(node, is_limited)
    if kind == "Limit":
        is_limited = True
    elif kind in {"Sort", "Aggregate", "Hash", "WindowAgg"}:  # reads all of what is below it
        is_limited = False
    for child in node.get("Plans", ()):
        yield from _steps(child, is_limited=is_limited)


def _looks_up(node: Plan, is_limited: bool) -> bool:
    match node["Node Type"]:
        case "Seq Scan" | "Sample Scan":
            return False
        case "Index Scan" | "Index Only Scan" | "Bitmap Index Scan":
            return "Index Cond" in node or is_limited
        case _:  # a heap that is read where an index led, or a row that is written
            return True
