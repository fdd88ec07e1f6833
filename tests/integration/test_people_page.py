"""Who may sign in, said on the admin's page and by command line; and the first page that everybody sees."""

from __future__ import annotations

import re
import threading

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from pipeline.errors import Conflict, NotFound
from pipeline.passwords import hash_password, is_right
from pipeline.people import Role
from pipeline.records import VerdictKind
from pipeline.store import Stores
from tests.desk import signed_in
from tests.factories import add_model, add_verdict
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.cli import app as cli
from workers.local.launch import ensure_admin
from workers.web.app import create_app

SECRET = re.compile(r'class="secret">([^<]+)<')


@pytest.fixture
def environment(fresh_dsn, redis_url):
    return {"LENSWATCH_POSTGRES__DSN": fresh_dsn, "LENSWATCH_REDIS__URL": redis_url}


@pytest.fixture
def settings(environment):
    return settings_for(**environment)


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
def admin(app, stores):
    return signed_in(app, stores, Role.ADMIN, "root")


@pytest.fixture
def command(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments, **more: CliRunner().invoke(cli, ["people", *arguments], **more)


@pytest.fixture
def audit(settings):
    """(actor, action, subject, detail) of what was written down, oldest first."""
    engine = create_engine(settings.postgres.dsn.get_secret_value())

    def rows():
        with engine.connect() as connection:
            said = connection.execute(text("SELECT actor, action, subject, detail FROM audit_log ORDER BY id"))
            return [tuple(row) for row in said]

    yield rows
    engine.dispose()


def account(stores, name):
    with stores.transaction() as tx:
        return tx.accounts.named(name)


def knows(browser, name, password):
    form = {"name": name, "password": password}
    return browser.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


def test_who_is_added_gets_a_password_that_is_shown_once(app, admin, stores, audit):
    shown = admin.post("/people", data={"name": "Ann", "role": "lead"})
    [password] = SECRET.findall(shown.text)
    assert password not in admin.get("/people").text
    assert account(stores, "ann").role is Role.LEAD
    assert knows(TestClient(app.app, base_url="https://testserver", follow_redirects=False), "ann", password)
    assert audit()[-1] == ("root", "account.added", "account:2", {"name": "ann", "role": "lead"})
    assert password not in str(audit())


@pytest.mark.parametrize(
    ("name", "status"), [("root", 409), ("ROOT ", 409), (" ", 422), ("a\nb", 422), ("x" * 101, 422)]
)
def test_names_are_unique_and_printable(admin, name, status):
    assert admin.post("/people", data={"name": name, "role": "viewer"}).status_code == status


def test_another_role_holds_from_the_next_request_on(app, admin, stores, audit):
    ann = signed_in(app, stores, Role.VIEWER, "ann")
    assert ann.get("/people").status_code == 403
    changed = admin.post(f"/people/{account(stores, 'ann').id}/role", data={"role": "admin"})
    assert (changed.status_code, changed.headers["Location"]) == (303, "/people")
    assert ann.get("/people").status_code == 200
    assert audit()[-1][1:] == (
        "account.role_changed",
        "account:2",
        {"name": "ann", "before": "viewer", "after": "admin"},
    )


@pytest.mark.parametrize("change", ["disable", "sign-out", "password"])
def test_who_is_disabled_or_gets_a_new_password_is_signed_out_everywhere(app, admin, stores, audit, change):
    ann = signed_in(app, stores, Role.VIEWER, "ann")
    admin.post(f"/people/{account(stores, 'ann').id}/{change}")
    assert ann.get("/").status_code == 303
    assert audit()[-1][2] == "account:2"
    admin.post(f"/people/{account(stores, 'ann').id}/enable")
    assert ann.get("/").status_code == 303  # what was open before stays over
    assert admin.get("/").status_code == 200


def test_a_new_password_replaces_the_old_one(app, admin, stores):
    with stores.transaction() as tx:
        ann = tx.accounts.add("ann", Role.VIEWER, created_by="tests", password_hash=hash_password("the old password"))
    [password] = SECRET.findall(admin.post(f"/people/{ann.id}/password").text)
    browser = TestClient(app.app, base_url="https://testserver", follow_redirects=False)
    assert not knows(browser, "ann", "the old password")
    assert knows(browser, "ann", password)
    admin.post(f"/people/{ann.id}/disable")
    assert not knows(browser, "ann", password)
    admin.post(f"/people/{ann.id}/enable")
    assert knows(browser, "ann", password)


def test_the_last_admin_stays(admin, stores):
    mine = account(stores, "root").id
    for change, data in (("disable", None), ("role", {"role": "lead"})):
        refused = admin.post(f"/people/{mine}/{change}", data=data)
        assert (refused.status_code, "last admin" in refused.text) == (409, True)
    with stores.transaction() as tx:
        second = tx.accounts.add("second", Role.ADMIN, created_by="tests")
        tx.accounts.disable(second.id, by="tests")
    assert admin.post(f"/people/{mine}/disable").status_code == 409  # a disabled admin is none
    with stores.transaction() as tx:
        tx.accounts.enable(second.id, by="tests")
    assert admin.post(f"/people/{mine}/disable").status_code == 303


def test_the_last_two_admins_cannot_remove_each_other_at_the_same_time(stores):
    with stores.transaction() as tx:
        pair = [tx.accounts.add(name, Role.ADMIN, created_by="tests").id for name in ("one", "two")]
    together, refused = threading.Barrier(2), []

    def remove(account_id):
        with stores.transaction() as tx:
            tx.accounts.all()  # the transaction has begun
            together.wait(5)
            try:
                tx.accounts.disable(account_id, by="tests")
            except Conflict:
                refused.append(account_id)

    threads = [threading.Thread(target=remove, args=(one,)) for one in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(refused) == 1


def test_roles_and_passwords_of_people_from_a_provider_are_not_ours_to_set(admin, stores):
    with stores.transaction() as tx:
        ann = tx.accounts.add("ann", Role.VIEWER, created_by="oidc", oidc_subject="https://idp 7")
    assert admin.post(f"/people/{ann.id}/role", data={"role": "lead"}).status_code == 409
    assert admin.post(f"/people/{ann.id}/password").status_code == 409
    assert "by her groups" in admin.get("/people").text


def test_many_people_are_shown_page_by_page(admin, stores):
    with stores.transaction() as tx:
        for number in range(120):
            tx.accounts.add(f"p{number:03}", Role.VIEWER, created_by="tests")
    first = admin.get("/people").text
    assert "p099" in first
    assert "p100" not in first
    [following] = re.findall(r'href="(/people\?after=[^"]+)"', first)
    second = admin.get(following).text
    assert ("p099" in second, "p100" in second, "root" in second) == (False, True, True)


def test_people_by_command(command, stores, audit):
    added = command("add", "ann", "--role", "reviewer", "--actor", "ops")
    password = added.output.split()[-1]
    assert password not in command("list").output
    assert "reviewer" in command("list").output
    assert command("role", "ann", "lead").exit_code == 0
    renewed = command("password", "ann", "--ask", input="a password of my own\na password of my own\n")
    assert (renewed.exit_code, "of my own" in renewed.output) == (0, False)
    assert command("disable", "ann").exit_code == 0
    assert account(stores, "ann").disabled_at is not None
    assert command("enable", "ann").exit_code == 0
    assert [row[1].removeprefix("account.") for row in audit()] == [
        "added",
        "role_changed",
        "password_changed",
        "disabled",
        "enabled",
    ]
    assert audit()[0][0] == "ops"
    assert command("password", "ann", "--ask", input="short\nshort\n").exit_code == 2
    assert isinstance(command("role", "nobody", "lead").exception, NotFound)


def test_the_first_start_makes_an_admin_and_the_next_ones_leave_her_alone(settings, stores):
    with Dependencies(settings) as deps:
        ensure_admin(deps, "the password of the folder")
        ensure_admin(deps, "another, of a copied folder")
    with stores.transaction() as tx:
        admin, known = tx.accounts.begin_sign_in("admin")
    assert (admin.role, is_right("the password of the folder", known)) == (Role.ADMIN, True)


def test_the_first_page_shows_the_latest_and_takes_nothing_of_an_upload_for_markup(app, stores):
    with stores.transaction() as tx:
        add_verdict(tx, add_model(tx), key="<script>alert(1)</script>.jpg")
        [view] = tx.verdicts.latest()
    page = signed_in(app, stores, Role.VIEWER).get("/")
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert f'href="/uploads/{view.upload_id}"' in page.text
    assert "a signal, not proof" in page.text


def test_the_first_page_says_what_waits_for_whom(app, stores):
    with stores.transaction() as tx:
        model = add_model(tx)
        for number in range(3):
            add_verdict(tx, model, VerdictKind.UNSURE, key=f"{number}.jpg")
    said = {role: " ".join(signed_in(app, stores, role).get("/").text.split()) for role in Role}
    assert "<strong>3</strong> images to decide" in said[Role.REVIEWER]
    assert "images to decide" not in said[Role.VIEWER]
    assert ("disagreements" in said[Role.REVIEWER], "disagreements" in said[Role.LEAD]) == (False, True)


def test_a_person_changes_her_own_password(app, stores):
    with stores.transaction() as tx:
        tx.accounts.add("ann", Role.VIEWER, created_by="tests", password_hash=hash_password("what an admin knows"))
    mine, other = (TestClient(app.app, base_url="https://testserver", follow_redirects=False) for _ in range(2))
    assert knows(mine, "ann", "what an admin knows")
    assert knows(other, "ann", "what an admin knows")
    [csrf] = re.findall(r'name="csrf" content="(\w+)"', mine.get("/password").text)
    for present, chosen in (("a guess", "what only I know"), ("what an admin knows", "short")):
        refused = mine.post("/password", data={"csrf": csrf, "present": present, "chosen": chosen})
        assert refused.status_code == 422
    form = {"csrf": csrf, "present": "what an admin knows", "chosen": "what only I know"}
    assert mine.post("/password", data=form).status_code == 303
    assert (mine.get("/").status_code, other.get("/", headers={"Accept": "text/html"}).status_code) == (200, 303)
    assert not knows(other, "ann", "what an admin knows")
    assert knows(other, "ann", "what only I know")
