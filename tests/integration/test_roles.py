"""Every route of the service, asked by everybody: who has the role that it needs gets further, nobody else does.

What a route needs is read from its dependencies (`dependency.role`), so a route that is added tomorrow is asked, too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from pipeline.people import KeyRole, Role
from pipeline.settings import Settings
from pipeline.store import Stores
from tests.desk import signed_in
from tests.servers import settings_for
from workers.keys import key_setting
from workers.web.app import create_app
from workers.web.desk.session import SAFE_METHODS

PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /v1/schemas/upload-event",
    "GET /sign-in",
    "POST /sign-in",
    "GET /sign-in/oidc",
    "GET /sign-in/oidc/callback",
    "GET /static",
}
"""All that nobody has to prove anything for. It gets longer on purpose only."""

UNKNOWN = "987654321"
"""Stands for every number and name in a path: nothing has it."""


@dataclass(frozen=True)
class Door:
    method: str
    path: str
    role: Role | KeyRole | None
    """The highest that one of its dependencies asks for."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def address(self) -> str:
        return re.sub(r"\{[^}]*\}", UNKNOWN, self.path)

    @property
    def is_safe(self) -> bool:
        return self.method in SAFE_METHODS


def roles(dependant: Dependant):
    for each in dependant.dependencies:
        if role := getattr(each.call, "role", None):
            yield role
        yield from roles(each)


def doors():
    for route in iter_route_contexts(create_app(Settings(_env_file=None)).routes):
        asked = list(roles(route.dependant)) if getattr(route, "dependant", None) else []
        highest = max(asked, key=lambda role: list(type(role)).index(role), default=None)
        for method in sorted((getattr(route, "methods", None) or {"GET"}) - {"HEAD"}):
            yield Door(method, route.path, highest)


DOORS = list(doors())
PAGES = [door for door in DOORS if isinstance(door.role, Role)]
API = [door for door in DOORS if isinstance(door.role, KeyRole)]


@pytest.fixture
def settings(fresh_dsn, redis_url, s3_server):
    return settings_for(
        s3_server,
        LENSWATCH_POSTGRES__DSN=fresh_dsn,
        LENSWATCH_REDIS__URL=redis_url,
        LENSWATCH_TRITON__TIMEOUT="1",
        LENSWATCH_WEB__API_KEYS=json.dumps({role.value: key_setting(f"{role} key", role) for role in KeyRole}),
    )


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def app(settings):
    with TestClient(create_app(settings), follow_redirects=False) as client:
        yield client


def ask(client, door, **headers):
    return client.request(door.method, door.address, headers=headers).status_code


def test_every_route_asks_for_a_role_or_is_public_on_purpose():
    assert {str(door) for door in DOORS if door.role is None} == PUBLIC
    assert {"GET /", "POST /people", "POST /sign-out"} <= {str(door) for door in PAGES}
    assert [str(door) for door in API if not door.path.startswith("/v1/")] == []
    assert [str(door) for door in PAGES if door.path.startswith("/v1/")] == []


@pytest.mark.parametrize(
    ("door", "role"),
    [
        ("GET /", Role.VIEWER),
        ("GET /people", Role.ADMIN),
        ("POST /people/{account_id}/role", Role.ADMIN),
        ("POST /v1/uploads", KeyRole.SENDER),
        ("POST /v1/dead-letters/{letter_id}/drop", KeyRole.LEAD),
        ("POST /v1/erasures", KeyRole.ADMIN),
    ],
)
def test_what_matters_most_needs_what_it_should(door, role):
    assert [each.role for each in DOORS if str(each) == door] == [role]


def test_nobody_gets_anywhere(app):
    assert [str(door) for door in PAGES + API if ask(app, door) != 401] == []
    to_read = [door for door in PAGES if door.is_safe]
    assert [str(door) for door in to_read if ask(app, door, Accept="text/html") != 303] == []


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_a_person_gets_where_her_role_leads_and_no_further(app, stores, role):
    browser = signed_in(app, stores, role)
    wrong = {}
    for door in PAGES:
        asking = browser if door.is_safe else signed_in(app, stores, role)  # what is done may sign her out
        status = ask(asking, door)
        may = role.includes(door.role)
        if (status in {401, 403}) is may or (not may and status != 403):
            wrong[str(door)] = status
    assert wrong == {}


@pytest.mark.parametrize("role", list(KeyRole), ids=str)
def test_a_key_opens_what_its_role_says_and_no_more(app, role):
    wrong = {}
    for door in API:
        status = ask(app, door, Authorization=f"Bearer {role} key")
        may = role.includes(door.role)
        if (status in {401, 403}) is may or (not may and status != 403):
            wrong[str(door)] = status
    assert wrong == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 64},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_nothing_is_changed_by_a_form_of_another_site(app, stores, headers):
    admin = signed_in(app, stores, Role.ADMIN)
    changing = [door for door in PAGES if not door.is_safe]
    assert changing
    assert [str(door) for door in changing if ask(admin, door, **headers) != 403] == []


def test_a_key_opens_no_page_and_a_session_no_api(app, stores):
    assert [str(door) for door in PAGES if ask(app, door, Authorization="Bearer admin key") != 401] == []
    admin = signed_in(app, stores, Role.ADMIN)
    assert [str(door) for door in API if ask(admin, door) != 401] == []
