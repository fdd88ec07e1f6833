"""axe-core on every page, light and dark: nothing that keeps a person from working here."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from pipeline.people import Role
from tests.big.pages import PAGES, Places

pytestmark = pytest.mark.browser

GRAVE = {"serious", "critical"}
"""Of axe's four impacts."""


@pytest.fixture(scope="module")
def places(desk):
    return Places.drawn_from(desk.deps.stores._engine)


@pytest.fixture(scope="module", params=["light", "dark"])
def admin(desk, request):
    return desk.signed_in(Role.ADMIN, dark=request.param == "dark")


@pytest.fixture(scope="module", params=["light", "dark"])
def stranger(desk, request):
    return desk.window(dark=request.param == "dark")


def grave(page):
    found = Axe().run(page)
    return "\n".join(
        found.generate_report(violation["id"])
        for violation in found.response["violations"]
        if violation["impact"] in GRAVE
    )


@pytest.mark.parametrize("visited", PAGES, ids=lambda visited: visited.name)
def test_no_page_shuts_anybody_out(admin, places, visited):
    assert admin.goto(visited.urls(places)[0]).ok
    assert admin.locator("h1").count() == 1
    assert not grave(admin)


def test_an_item_with_its_picture_shuts_nobody_out(admin):
    admin.goto("/queue?surface=samples")
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/items/*")
    admin.get_by_alt_text("The uploaded image, blurred", exact=True).wait_for()
    assert not grave(admin)
    admin.keyboard.press("h")
    assert not grave(admin)
    admin.goto(admin.url.replace("?", "/copies?"))
    assert not grave(admin)


@pytest.mark.parametrize("path", ["/sign-in", "/no-such-page"])
def test_no_page_before_signing_in_shuts_anybody_out(stranger, path):
    stranger.goto(path)
    assert not grave(stranger)


def test_axe_finds_what_is_wrong(admin):
    """Or the tests above would pass for nothing."""
    admin.goto("/")
    admin.evaluate("document.querySelector('h1').insertAdjacentHTML('afterend', '<input name=nameless>')")
    assert "label" in grave(admin)
