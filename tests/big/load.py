"""Fills a migrated, empty database: five million scores in minutes, because the server makes the rows itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from pipeline.adapters.registry import NetworkRepository
from pipeline.moderate import CHAMPION
from pipeline.passwords import hash_password
from pipeline.people import Role
from pipeline.release import Release
from tests.big import desk_rows, rows
from tests.big.rows import Sizes
from workers.bootstrap import Dependencies

PASSWORD = "correct horse battery"
"""Of everybody."""

BATCH = 100_000

BUILDING = "SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'; SET statement_timeout = 0"

Report = Callable[[str, int, int], None]
"""What is being done, rows so far, rows in all."""


class PretendNetworks:
    """Implements the registry's `NetworkRepository`: nothing is scored here, so no Triton is needed."""

    def install(self, release: Release) -> tuple[int, int]:
        return 1, 1


def load(
    deps: Dependencies,
    scores: int,
    report: Report = lambda *_: None,
    *,
    queue: int = 1,
    networks: NetworkRepository = PretendNetworks(),  # noqa: B008 - it has no state
) -> None:
    """Models, uploads with all that hangs on them, the review desk's rows, and people (`reviewer-01`, `lead-01`, ...).

    The database is `deps.settings`' and must be empty, but for the shipped model; the bucket of models is filled, too.
    """
    sizes = Sizes(scores, queue)
    publish_models(deps, networks)
    dsn = deps.settings.postgres.dsn.get_secret_value().replace("+psycopg", "")
    with psycopg.connect(dsn, autocommit=True, application_name="big") as connection:
        connection.execute(BUILDING)
        connection.execute("SET session_replication_role = replica")  # no triggers: the keys are known to be right
        connection.execute(rows.functions(sizes, datetime.now(UTC) - timedelta(minutes=5)))
        with _without_indexes(connection, report):
            _fill(connection, sizes, report)
        _settle(connection, report)
    add_people(deps)


def publish_models(deps: Dependencies, networks: NetworkRepository) -> None:
    """Model 1, the shipped release, and 2, its refit, which is the champion now."""
    release = Release.open(deps.settings.detector.release)
    first = deps.registry.publish(release, networks, actor="load", alias=CHAMPION)
    one_class = (release.folder / "one_class.npz").read_bytes()
    refit = deps.registry.publish_refit(
        first, name=f"{first.name}-refit", one_class=one_class, card=release.one_class_json, actor="load"
    )
    deps.registry.promote(refit.name, actor="load", reason="passed its gate")
    assert (first.id, refit.id) == (1, 2), "the database was not empty"


def add_people(deps: Dependencies) -> None:
    names = dict.fromkeys(rows.REVIEWERS, Role.REVIEWER)
    names |= {"viewer-01": Role.VIEWER, "lead-01": Role.LEAD, "admin-01": Role.ADMIN}
    password = hash_password(PASSWORD)
    with deps.stores.transaction() as transaction:
        for name, role in names.items():
            transaction.accounts.add(name, role, created_by="load", password_hash=password)


def _fill(connection: psycopg.Connection[tuple[object, ...]], sizes: Sizes, report: Report) -> None:
    for table, statement in rows.UPLOADS.items():
        for first in range(1, sizes.uploads + 1, BATCH):
            last = min(first + BATCH - 1, sizes.uploads)
            connection.execute(statement.format(first=first, last=last, n=sizes.scores))
            report(table, last, sizes.uploads)
    connection.execute("ANALYZE uploads, media, exif, scores, verdicts")
    for name, statement in desk_rows.statements(sizes).items():
        report(name, 0, 1)
        connection.execute(statement)
        report(name, 1, 1)


@contextmanager
def _without_indexes(connection: psycopg.Connection[tuple[object, ...]], report: Report) -> Iterator[None]:
    """Drop the indexes that no constraint needs; build them again at the end: a sort is quicker than n insertions."""
    found = connection.execute(
        """
        SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND indexname NOT IN (SELECT conname FROM pg_constraint) ORDER BY indexname
        """
    ).fetchall()
    for name, _ in found:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for number, (_, definition) in enumerate(found, start=1):
        connection.execute(str(definition))
        report("indexes", number, len(found))


def _settle(connection: psycopg.Connection[tuple[object, ...]], report: Report) -> None:
    """Sequences after the explicit ids, statistics, and the map that index-only scans read."""
    for table in ("uploads", "announcements", "verdicts"):
        connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
    report("vacuum", 0, 1)
    connection.execute("VACUUM ANALYZE")
    report("vacuum", 1, 1)
