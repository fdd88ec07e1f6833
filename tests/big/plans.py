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


def scans(connection: Connection, statement: Statement) -> list[str]:
    """The steps of a statement's plan that read a big table, or all of an index of it, without looking anything up.

    Scanning is forbidden to the planner here: where it still does, no index serves the statement, on a table of any
    size. To walk along an index without a condition is right only where a `LIMIT` ends it and nothing is filtered out.
    """
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.parameters).scalar_one()
    return list(_scans(plan[0]["Plan"], is_limited=False))


def _scans(node: Plan, *, is_limited: bool) -> Iterator[str]:
    kind, name = node["Node Type"], node.get("Relation Name", node.get("Index Name"))
    if name is not None and name not in SMALL and not _looks_up(node, is_limited):
        yield f"{kind} on {name} {node.get('Index Name', '')} {node.get('Filter', '')}".strip()
    if kind == "Limit":
        is_limited = True
    elif kind in {"Sort", "Aggregate", "Hash", "WindowAgg"}:  # reads all of what is below it
        is_limited = False
    for child in node.get("Plans", ()):
        yield from _scans(child, is_limited=is_limited)


def _looks_up(node: Plan, is_limited: bool) -> bool:
    match node["Node Type"]:
        case "Seq Scan" | "Sample Scan":
            return False
        case "Index Scan" | "Index Only Scan" | "Bitmap Index Scan":
            return "Index Cond" in node or (is_limited and "Filter" not in node)
        case _:  # a heap that is read where an index led, or a row that is written
            return True
