"""No page reads a big table from end to end: every statement it sends is explained, on a database like a big one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.responses import HTMLResponse
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from pipeline.people import Role
from pipeline.settings import Settings
from tests.big.load import load
from tests.big.pages import PAGES, PARTS, Places
from tests.big.plans import Statement, offences, statements_of
from tests.desk import signed_in
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.recount import merge_settled, recount
from workers.web.app import create_app

SCORES = 30_000

OTHERS = ["/sign-in", "/password", "/items/1/copies"]
"""These know nothing of uploads, or are visited by `test_no_deed_scans_a_table`."""


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


def pages():
    """Paths of all pages; pictures come out of S3."""
    for route in iter_route_contexts(create_app(Settings(_env_file=None)).routes):
        if "GET" in (getattr(route, "methods", None) or ()) and getattr(route, "response_class", None) is HTMLResponse:
            yield route.path


@pytest.mark.parametrize("path", list(pages()))
def test_every_page_is_visited(path):
    places = Places([1], [1], [1], [(1, "key-of-it", "uploader", "sha")], [1])
    visited = [url.partition("?")[0] for page in PAGES + PARTS for url in page.urls(places)] + OTHERS
    assert any(re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", path), url) for url in visited)


def found(engine, statements):
    with engine.connect() as connection:
        return [f"{step}\n    {one.sql}" for one in statements for step in offences(connection, one)]


def visit(desk, url):
    answer = desk.get(url)
    assert answer.status_code == 200, f"{url}: {answer.text}"


def do(desk, path, **form):
    answer = desk.post(path, data=form)
    assert answer.status_code == 303, f"{path}: {answer.text}"
    return answer.headers["location"]


@pytest.mark.parametrize("page", PAGES + PARTS, ids=lambda page: page.name)
def test_no_page_scans_a_table(app, desk, engine, page):
    places = Places.drawn_from(engine)
    with statements_of(engine) as statements:
        for url in page.urls(places):
            visit(desk, url)
    scans = found(engine, statements)
    assert not scans, "\n".join(scans)


def review(desk):
    """What a reviewer does."""
    for which in ("", "?surface=posts", "?order=riskiest", "?surface=news&order=riskiest", "?purpose=appeal"):
        item = do(desk, f"/queue/start{which}").partition("?")[0]
        visit(desk, f"{item}{which}")
        visit(desk, f"{item}/copies{which}")
        following = do(desk, f"{item}/decision{which}", label="camera", reason="sensor_traces").partition("?")[0]
        do(desk, f"{following}/skip{which}", reason="other")
        decision = re.search(r'name="decision_id" value="(\d+)"', desk.get("/queue").text)
        do(desk, f"/undo{which}", decision_id=decision[1])
        do(desk, f"{item}/copies{which}", label="not_camera")


def lead(desk, places):
    """What a lead does beside."""
    do(desk, f"/items/{places.disputes[0]}/end", label="not_camera", note="seen")
    policy = {"not_camera": 1, "unsure": 5, "decisions_needed": 1, "reason": "tests", "instead_of": 0}
    do(desk, "/thresholds/default", **policy)
    assert desk.post("/audit/export", data={"format": "csv", "actor": "lead-01"}).status_code == 200


def test_no_deed_scans_a_table(desk, engine):
    places = Places.drawn_from(engine)
    with statements_of(engine) as statements:
        review(desk)
        lead(desk, places)
    scans = found(engine, statements)
    assert not scans, "\n".join(scans)


def test_counting_the_last_hours_scans_no_table(app, desk, engine):
    deps, now = app.state.dependencies, datetime.now(UTC)
    with statements_of(engine) as statements:
        recount(deps, now - timedelta(hours=1), now)
        merge_settled(deps)
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
