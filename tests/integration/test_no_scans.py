"""No page reads a big table from end to end: every statement it sends is explained, on a database like a big one."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from pipeline.people import Role
from tests.big.load import load
from tests.big.pages import PAGES, Places
from tests.big.plans import Statement, offences, statements_of
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
        load(deps, SCORES, queue=4)
    return create_app(settings)


@pytest.fixture(scope="module")
def desk(app):
    """An admin's browser."""
    with TestClient(app) as client:
        yield signed_in(client, app.state.dependencies.stores, Role.ADMIN)


@pytest.fixture(scope="module")
def engine(app, desk):
    return app.state.dependencies.stores._engine


def found(engine, statements):
    with engine.connect() as connection:
        return [f"{step}\n    {one.sql}" for one in statements for step in offences(connection, one)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_scans_a_table(app, desk, engine, page):
    places = Places.drawn_from(engine)
    with statements_of(engine) as statements:
        for url in page.urls(places):
            answer = desk.get(url)
            assert answer.status_code == 200, f"{url}: {answer.text}"
    scans = found(engine, statements)
    assert not scans, "\n".join(scans)


SCANS = [
    "SELECT id FROM uploads WHERE last_error = 'x'",
    "SELECT id FROM uploads WHERE last_error = 'x' ORDER BY id LIMIT 10",  # along the primary key, to its end
    "SELECT count(*) FROM scores",
    "SELECT id FROM review_items WHERE state = 'open' ORDER BY outcome LIMIT 10",  # sorted first
]
LOOKS_UP = [
    "SELECT id FROM uploads WHERE id = 7",
    "SELECT id FROM uploads ORDER BY id DESC LIMIT 10",
    "SELECT count(*) FROM model_versions",
]


@pytest.mark.parametrize(("sql", "scans"), [*((sql, True) for sql in SCANS), *((sql, False) for sql in LOOKS_UP)])
def test_a_scan_is_found_out(engine, sql, scans):
    """Or the test above would pass for nothing."""
    assert bool(found(engine, [Statement(sql, {})])) is scans
