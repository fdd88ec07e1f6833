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
        "retractions",
        "sessions",
        "surface_policies",
    }
)
"""Tables that stay small whatever is uploaded, for they grow with what a few people do: reading one is no scan."""

MOST = 4000
"""Rows that a step may read and throw away: a rare match among common ones, but no table."""

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


def offences(connection: Connection, statement: Statement) -> list[str]:
    """The steps of a statement's plan that scan a big table, or all of an index of it.

    Scanning is forbidden to the planner here: where it still does, no index serves the statement, on a table of any
    size. An index may be walked along without a condition only where a `LIMIT` ends the walk, and without throwing much
    away: the statement is run to count that, and rolled back.
    """
    for way in ("seqscan", "bitmapscan"):  # in a small table the latter replaces an ordered walk
        connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    options = "" if statement.sql.startswith("INSERT") else "ANALYZE, TIMING off, "  # twice would be a conflict
    explain = f"EXPLAIN ({options}FORMAT JSON) {statement.sql}"
    plan = connection.exec_driver_sql(explain, statement.parameters).scalar_one()
    connection.rollback()
    return list(_offences(plan[0]["Plan"], is_limited=False))


def _offences(node: Plan, *, is_limited: bool) -> Iterator[str]:
    kind, name = node["Node Type"], node.get("Relation Name", node.get("Index Name"))
    wasted = node.get("Actual Loops", 0) * sum(node.get(removed, 0) for removed in REMOVED)
    if name is not None and name not in SMALL and (wasted > MOST or not _looks_up(node, is_limited)):
        yield f"{kind} on {name} {node.get('Index Name', '')} {node.get('Filter', '')}: {wasted:.0f} rows for nothing"
    if kind == "Limit":
        is_limited = True
    elif kind in {"Sort", "Aggregate", "Hash", "WindowAgg"}:  # reads all of what is below it
        is_limited = False
    for child in node.get("Plans", ()):
        yield from _offences(child, is_limited=is_limited)


def _looks_up(node: Plan, is_limited: bool) -> bool:
    match node["Node Type"]:
        case "Seq Scan" | "Sample Scan":
            return False
        case "Index Scan" | "Index Only Scan" | "Bitmap Index Scan":
            return "Index Cond" in node or is_limited
        case _:  # a heap that is read where an index led, or a row that is written
            return True
