"""No page reads a big table from end to end: every statement it sends is explained, on a database like a big one."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from tests.big.pages import PAGES, Places

from pipeline.people import Role
from tests.big.load import load
from tests.big.plans import scans, statements_of
from tests.desk import signed_in
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.web.app import create_app

SCORES = 30_000


@pytest.fixture(scope="module")
def app(postgres_server, redis_server, s3_server, _template):
    postgres_server.create_database("no_scans", _template)
    dsn = postgres_server.dsn("no_scans")
    settings = settings_for(postgres_server, redis_server, s3_server, LENSWATCH_POSTGRES__DSN=dsn)
    with Dependencies(settings) as deps:
        load(deps, SCORES)
    return create_app(settings)


@pytest.fixture(scope="module")
def desk(app):
    """An admin's browser."""
    with TestClient(app) as client:
        yield signed_in(client, app.state.dependencies.stores, Role.ADMIN)


@pytest.fixture(scope="module")
def engine(app, desk):
    return app.state.dependencies.stores._engine


def offences(engine, statements):
    with engine.connect() as connection:
        return [f"{step}\n    {statement.sql}" for statement in statements for step in scans(connection, statement)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_scans_a_table(app, desk, engine, page):
    places = Places.drawn_from(engine)
    with statements_of(engine) as statements:
        for url in page.urls(places):
            answer = desk.get(url)
            assert answer.status_code == 200, f"{url}: {answer.text}"
    assert not offences(engine, statements)
