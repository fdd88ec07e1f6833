"""The store on a real, migrated Postgres, rolled back after each test.

===========  ======================================================================================
`database`   a connection inside a transaction that ends with the test
`stores`     whose transactions are savepoints in it; Postgres' now() stands still there
===========  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection

from pipeline.settings import PostgresSettings
from pipeline.store import Stores
from pipeline.store.base import create_store_engine


@pytest.fixture
def database(migrated_dsn: str) -> Iterator[Connection]:
    engine = create_store_engine(PostgresSettings(dsn=SecretStr(migrated_dsn)))
    with engine.connect() as connection, connection.begin() as outer:
        yield connection
        outer.rollback()
    engine.dispose()


@pytest.fixture
def stores(database: Connection) -> Stores:
    return Stores(PostgresSettings(), connection=database)
