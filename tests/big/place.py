"""Where the big database lives: servers of its own, in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from pipeline.settings import Settings
from pipeline.store.migrate import upgrade
from tests.servers import settings_for
from workers.local.postgres import PostgresServer
from workers.local.redis import RedisServer
from workers.local.s3 import S3Server

TUNING = {
    "shared_buffers": "2GB",  # a quarter of 8 GB, as Postgres' manual advises; its default is 128 MB
    "effective_cache_size": "6GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "random_page_cost": "1.1",  # of an SSD
}


@contextmanager
def servers(folder: Path) -> Iterator[Settings]:
    """Postgres (tuned, migrated), Redis and S3 under `folder`, and the settings that reach them."""
    with ExitStack() as running:
        postgres = running.enter_context(PostgresServer(folder, durable=False))
        if _tune(postgres):
            postgres.stop()
            postgres.launch()
            postgres.wait()
        others = [running.enter_context(server) for server in (RedisServer(folder), S3Server(folder))]
        settings = settings_for(postgres, *others)
        upgrade(settings)
        yield settings


def _tune(postgres: PostgresServer) -> bool:
    """Whether anything had to change, which a restart brings into force."""
    with psycopg.connect(postgres.dsn().replace("+psycopg", ""), autocommit=True) as connection:
        changed = [
            name
            for name, value in TUNING.items()
            if connection.execute("SELECT current_setting(%s)", [name]).fetchone() != (value,)
        ]
        for name in changed:
            connection.execute(f"ALTER SYSTEM SET {name} = '{TUNING[name]}'")
    return bool(changed)
