"""Signing in with a password: who gets in, what her browser is told, and what a guesser learns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from pipeline.passwords import hash_password
from pipeline.people import Role
from pipeline.store import Stores
from tests.desk import signed_in
from tests.servers import settings_for
from workers.web.app import create_app
from workers.web.desk.sign_in import local_path

PASSWORD = "four words are enough"
HERE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def settings(fresh_dsn, redis_url):
    return settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn, LENSWATCH_REDIS__URL=redis_url)


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def app(settings):
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def browser(app):
    """Nobody's yet."""
    browser = TestClient(app.app, base_url="https://testserver", follow_redirects=False)
    browser.headers.update({"Accept": "text/html"})
    return browser


@pytest.fixture
def ann(stores):
    with stores.transaction() as tx:
        return tx.accounts.add("Ann", Role.REVIEWER, created_by="tests", password_hash=hash_password(PASSWORD))


@pytest.fixture
def sql(settings):
    """Run a statement past the store."""
    engine = create_engine(settings.postgres.dsn.get_secret_value())
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield lambda statement, **values: connection.execute(text(statement), values)
    engine.dispose()


def sign_in(browser, name="ann", password=PASSWORD, back="/", headers=HERE):
    return browser.post("/sign-in", data={"name": name, "password": password, "next": back}, headers=headers)


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_then_back(browser, ann):
    asked = browser.get("/?after=7")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/sign-in?next=/%3Fafter%3D7")
    assert 'value="/?after=7"' in browser.get(asked.headers["Location"]).text
    back = sign_in(browser, name=" ANN ", back="/?after=7")
    assert (back.status_code, back.headers["Location"]) == (303, "/?after=7")
    assert "ann · reviewer" in browser.get("/").text


def test_the_cookie_is_for_this_host_over_tls_and_no_script(browser, ann):
    cookie = sign_in(browser).headers["Set-Cookie"]
    assert cookie.startswith("__Host-lenswatch=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_a_session_that_was_there_before_is_over_after_signing_in(app, browser, stores, ann):
    attacker = signed_in(app, stores, Role.ADMIN)
    planted = attacker.cookies["__Host-lenswatch"]
    answer = sign_in(browser, headers=HERE | {"Cookie": f"__Host-lenswatch={planted}"})
    assert planted not in answer.headers["Set-Cookie"]
    assert "ann · reviewer" in browser.get("/").text
    assert attacker.get("/").status_code == 303


def test_signing_out_ends_the_session_and_not_only_the_cookie(browser, ann):
    sign_in(browser)
    stolen = browser.cookies["__Host-lenswatch"]
    [token] = [part.split('"')[0] for part in browser.get("/").text.split('name="csrf" content="')[1:]]
    assert browser.post("/sign-out").status_code == 403
    assert browser.post("/sign-out", data={"csrf": token}).headers["Location"] == "/sign-in"
    assert "__Host-lenswatch" not in browser.cookies
    browser.cookies.set("__Host-lenswatch", stolen)
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://testserver"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_no_other_site_signs_a_browser_in(browser, ann, headers):
    assert sign_in(browser, headers=headers).status_code == 403
    assert not browser.cookies


def test_an_old_browser_says_only_the_origin(browser, ann):
    assert sign_in(browser, headers={"Origin": "https://testserver"}).status_code == 303


@pytest.mark.parametrize(
    ("said", "goes_to"),
    [
        ("/queue?surface=a b", "/queue?surface=a b"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("\t//evil.example", "/"),
        ("/queue\r\nX: y", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_to_this_service_only(said, goes_to):
    assert local_path(said) == goes_to


def test_wrong_passwords_and_people_who_do_not_exist_look_the_same(browser, stores, ann):
    with stores.transaction() as tx:
        gone = tx.accounts.add("gone", Role.VIEWER, created_by="tests", password_hash=hash_password(PASSWORD))
        tx.accounts.add("elsewhere", Role.VIEWER, created_by="tests", oidc_subject="https://idp 1")
        tx.accounts.disable(gone.id, by="tests")
    said = {}
    for name, password in [
        ("ann", "wrong"),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("elsewhere", ""),
        ("\0", "x"),
        ("ann", PASSWORD + "!"),
    ]:
        answer = sign_in(browser, name, password or "x")
        assert answer.status_code == 401
        said[name, password] = answer.text.replace(f'value="{name}"', "")
    assert len({page for (name, _), page in said.items() if name != "\0"}) == 1


def test_the_same_work_is_done_for_a_name_that_nobody_has(browser, ann, monkeypatch):
    looked_at = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(
        PasswordHasher, "verify", lambda self, known, said: looked_at.append(said) or verify(self, known, said)
    )
    sign_in(browser, "nobody", "a guess")
    sign_in(browser, "ann", "a guess")
    assert looked_at == ["a guess", "a guess"]


def test_after_five_failures_each_further_one_blocks_for_longer(browser, stores, ann, sql):
    def fail():
        with stores.transaction() as tx:
            assert tx.accounts.begin_sign_in("ann")
        [seconds] = sql("SELECT extract(epoch FROM blocked_until - now()) FROM accounts").scalars()
        sql("UPDATE accounts SET blocked_until = now() WHERE blocked_until IS NOT NULL")
        return seconds if seconds is None else float(seconds)

    blocked = [fail() for _ in range(17)]
    assert blocked[:5] == [None] * 5
    expected = [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert blocked[5:] == [pytest.approx(seconds, abs=1) for seconds in expected]
    assert sign_in(browser).status_code == 303  # the block is over, and the next failure is the first again
    assert fail() is None


def test_while_an_account_is_blocked_the_right_password_does_not_help(browser, stores, ann, sql):
    sql("UPDATE accounts SET failed_sign_ins = 9, blocked_until = now() + interval '1 minute' WHERE name = 'ann'")
    assert sign_in(browser).status_code == 401
    with stores.transaction() as tx:
        tx.accounts.set_password(ann.id, hash_password(PASSWORD), by="tests")
    assert sign_in(browser).status_code == 303


def test_many_guesses_at_once_are_no_way_around_the_block(stores, ann):
    """An attempt counts when it begins: of guesses whose passwords are still being looked at, the sixth blocks."""
    begun = []
    for _ in range(10):
        with stores.transaction() as tx:
            begun.append(tx.accounts.begin_sign_in("ann"))
    assert [one is not None for one in begun] == [True] * 6 + [False] * 4


def test_a_hash_with_old_parameters_is_renewed_at_the_next_sign_in(browser, ann, sql):
    old = PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    sql("UPDATE accounts SET password_hash = :old", old=old)
    assert sign_in(browser).status_code == 303
    [new] = sql("SELECT password_hash FROM accounts").scalars()
    assert not PasswordHasher().check_needs_rehash(new)
    assert sign_in(browser).status_code == 303


def test_sessions_end_by_age_and_by_idleness_and_are_removed(app, browser, stores, ann, sql):
    old, idle = (signed_in(app, stores, Role.VIEWER) for _ in range(2))
    sql("UPDATE sessions SET expires_at = now() - interval '1 s' WHERE account_id = 2")
    sql("UPDATE sessions SET seen_at = now() - interval '3 hours' WHERE account_id = 3")
    assert (old.get("/").status_code, idle.get("/").status_code) == (303, 303)
    sign_in(browser)
    assert sql("SELECT account_id FROM sessions ORDER BY 1").scalars().all() == [1, 3]
    [signed_in_at] = sql("SELECT signed_in_at FROM accounts WHERE id = 1").scalars()
    assert datetime.now(UTC) - signed_in_at < timedelta(minutes=1)


def test_without_local_accounts_no_password_is_taken(settings, stores, ann):
    elsewhere = settings.sign_in.model_copy(update={"local_accounts": False})
    with TestClient(create_app(settings.model_copy(update={"sign_in": elsewhere})), follow_redirects=False) as browser:
        assert "password" not in browser.get("/sign-in").text
        assert sign_in(browser).status_code == 404


def test_without_tls_the_cookie_has_no_prefix_that_needs_it(settings, stores, ann):
    plain = settings.sign_in.model_copy(update={"secure_cookies": False})
    with TestClient(create_app(settings.model_copy(update={"sign_in": plain})), follow_redirects=False) as browser:
        answer = sign_in(browser)
        assert answer.headers["Set-Cookie"].startswith("lenswatch=")
        assert "Secure" not in answer.headers["Set-Cookie"]
        assert browser.get("/").status_code == 200
