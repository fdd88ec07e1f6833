"""Signing in at an OpenID provider, which is a real server here: who gets in as what, and what proves nothing."""

from __future__ import annotations

import time

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey
from pydantic import ValidationError

from pipeline.people import Role
from pipeline.settings import SignInSettings
from pipeline.store import Stores
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, OpenIdServer
from tests.servers import settings_for
from workers.web.app import create_app

ANN = {"sub": "7", "preferred_username": "Ann", "email": "ann@example.org", "groups": ["staff", "deciders"]}


@pytest.fixture
def provider():
    with OpenIdServer() as provider:
        provider.person = ANN
        yield provider


@pytest.fixture
def settings(fresh_dsn, redis_url, provider):
    return settings_for(
        LENSWATCH_POSTGRES__DSN=fresh_dsn,
        LENSWATCH_REDIS__URL=redis_url,
        LENSWATCH_SIGN_IN__OIDC_ISSUER=provider.issuer,
        LENSWATCH_SIGN_IN__OIDC_CLIENT_ID=CLIENT_ID,
        LENSWATCH_SIGN_IN__OIDC_CLIENT_SECRET=CLIENT_SECRET,
        LENSWATCH_SIGN_IN__OIDC_ROLES='{"deciders": "reviewer", "chiefs": "lead"}',
    )


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def app(settings):
    with TestClient(create_app(settings)) as client:
        yield client.app


@pytest.fixture
def browser(app):
    return new_browser(app)


def new_browser(app):
    return TestClient(app, base_url="https://testserver", follow_redirects=False, headers={"Accept": "text/html"})


def leave(browser, back="/"):
    """To the provider; returns where that sends the browser back to."""
    there = browser.get("/sign-in/oidc", params={"next": back})
    assert there.status_code == 303
    return httpx.get(there.headers["Location"]).headers["Location"]


def sign_in(browser, back="/"):
    return browser.get(leave(browser, back))


def accounts(stores):
    with stores.transaction() as tx:
        return {one.name: one for one in tx.accounts.all()}


def test_who_is_in_a_group_gets_its_role_and_goes_where_she_wanted(browser, stores, provider):
    assert "Sign in at 127.0.0.1" in browser.get("/sign-in").text
    back = sign_in(browser, back="/?after=7")
    assert (back.status_code, back.headers["Location"]) == (303, "/?after=7")
    assert "ann · reviewer" in browser.get("/").text
    assert accounts(stores)["ann"].oidc_subject == f"{provider.issuer} 7"
    assert list(browser.cookies) == ["__Host-lenswatch"]  # the flow's own is gone


def test_the_same_person_is_the_same_account_with_the_role_of_today(app, stores, provider):
    sign_in(new_browser(app))
    provider.person = ANN | {"preferred_username": "ann-married", "groups": ["deciders", "chiefs"]}
    browser = new_browser(app)
    sign_in(browser)
    assert "ann · lead" in browser.get("/").text
    assert list(accounts(stores)) == ["ann"]


def test_nobody_takes_over_the_name_of_another(app, stores, provider):
    with stores.transaction() as tx:
        tx.accounts.add("ann", Role.ADMIN, created_by="tests")
    browser = new_browser(app)
    sign_in(browser)
    assert "ann@example.org · reviewer" in browser.get("/").text
    provider.person = ANN | {"sub": "8"}
    sign_in(new_browser(app))
    mine = {name: one.role for name, one in accounts(stores).items()}
    assert mine.pop("ann") is Role.ADMIN
    assert len(mine) == 2  # `ann@example.org`, and one with a suffix


@pytest.mark.parametrize("groups", [["staff"], [], None, "staff", {"deciders": 1}, [["deciders"]]])
def test_who_is_in_no_group_with_a_role_stays_outside(browser, stores, provider, groups):
    provider.person = ANN | {"groups": groups}
    answer = sign_in(browser)
    assert (answer.status_code, "none of your groups" in answer.text) == (403, True)
    assert browser.get("/").status_code == 303
    assert accounts(stores) == {}


def test_who_lost_her_groups_or_was_disabled_does_not_come_back(app, stores, provider):
    sign_in(new_browser(app))
    with stores.transaction() as tx:
        tx.accounts.disable(tx.accounts.named("ann").id, by="tests")
    answer = sign_in(new_browser(app))
    assert (answer.status_code, "disabled" in answer.text) == (403, True)


@pytest.mark.parametrize(
    "forged",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": "another-client", "azp": CLIENT_ID},
        {"aud": [CLIENT_ID, "another-client"]},  # without `azp`
        {"aud": None},
        {"azp": "another-client"},
        {"iss": "http://127.0.0.1:1"},
        {"exp": 1_600_000_000},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"at_hash": "c29tZXRoaW5nIGVsc2U"},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this_sign_in_proves_nothing(browser, stores, provider, forged):
    provider.forge = forged
    assert sign_in(browser).status_code == 401
    assert browser.get("/").status_code == 303
    assert accounts(stores) == {}


def test_only_the_providers_own_key_signs(browser, stores, provider):
    provider.key = RSAKey.generate_key(2048, {"kid": "first"})  # the same name, another key
    assert sign_in(browser).status_code == 401
    assert accounts(stores) == {}


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_a_public_key_is_no_secret_to_sign_with(browser, provider, algorithm):
    provider.algorithm = algorithm
    assert sign_in(browser).status_code == 401


def test_a_provider_that_changes_its_keys_is_asked_for_them_again(app, settings, provider, monkeypatch):
    monkeypatch.setattr("workers.openid.KEEP_KEYS", 0)
    assert sign_in(new_browser(app)).status_code == 303
    provider.key = RSAKey.generate_key(2048, {"kid": "second"})
    provider.published.append(provider.key)
    assert sign_in(new_browser(app)).status_code == 303
    assert provider.asked.count("/keys") == 2
    assert provider.asked.count("/.well-known/openid-configuration") == 1


def test_a_code_is_worth_nothing_in_another_browser(app, browser, provider):
    """Neither a stolen one, nor one that somebody wants another to be signed in with."""
    stolen = leave(browser)
    thief = new_browser(app)
    assert thief.get(stolen).status_code == 400
    leave(thief)
    assert thief.get(stolen).status_code == 400
    assert "/token" not in provider.asked


def test_a_stolen_code_does_not_fit_a_flow_of_the_thiefs_own(app, browser, provider):
    code = leave(browser).split("code=")[1].split("&")[0]
    thief = new_browser(app)
    state = leave(thief).split("state=")[1]
    assert thief.get("/sign-in/oidc/callback", params={"code": code, "state": state}).status_code == 401


def test_a_return_is_good_for_once(browser, provider):
    back = leave(browser)
    assert browser.get(back).status_code == 303
    browser.cookies.clear()
    assert browser.get(back).status_code == 400


def test_who_declines_at_the_provider_is_not_signed_in(browser):
    state = leave(browser).split("state=")[1]
    answer = browser.get("/sign-in/oidc/callback", params={"error": "access_denied", "state": state})
    assert answer.status_code == 401


def test_a_provider_that_is_away_is_said_so_and_not_waited_for_by_everybody(browser, provider):
    provider.__exit__()
    assert browser.get("/sign-in/oidc").status_code == 503
    began = time.monotonic()
    assert browser.get("/sign-in/oidc").status_code == 503
    assert time.monotonic() - began < 1
    assert browser.get("/sign-in").status_code == 200


def test_after_signing_in_there_she_lands_here_only(browser):
    assert sign_in(browser, back="//evil.example").headers["Location"] == "/"


@pytest.mark.parametrize("issuer", ["http://idp.example.org", "https://idp.example.org"])
def test_a_provider_without_tls_or_without_our_name_there_is_a_mistake_in_the_settings(issuer):
    with pytest.raises(ValidationError):
        SignInSettings(oidc_issuer=issuer, oidc_client_id="lenswatch" if issuer.startswith("http:") else "")
