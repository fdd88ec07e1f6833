"""Browsers that are signed in to the review desk, for tests of its pages.

>>> lead = signed_in(client, stores, Role.LEAD)  # doctest: +SKIP
>>> lead.post("/thresholds", data={"surface": "avatars"})  # doctest: +SKIP  the CSRF header is set
"""

from __future__ import annotations

import itertools
from datetime import timedelta

from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipeline.people import Role
from pipeline.store import Stores
from workers.web.desk.session import cookie_name, csrf_of, hash_token, new_token

_numbers = itertools.count(1)


def signed_in(client: TestClient, stores: Stores, role: Role, name: str | None = None) -> TestClient:
    """Another client of the same running app, signed in as a new account of this role."""
    token = new_token()
    with stores.transaction() as transaction:
        account = transaction.accounts.add(name or f"{role.value}-{next(_numbers)}", role, created_by="tests")
        transaction.accounts.open_session(account.id, hash_token(token), lifetime=timedelta(hours=1))
    app = client.app
    assert isinstance(app, FastAPI)
    browser = TestClient(app, base_url="https://testserver", follow_redirects=False)
    browser.cookies.set(cookie_name(secure=True), token)
    browser.headers.update({"X-CSRF-Token": csrf_of(token), "Accept": "text/html"})
    return browser
