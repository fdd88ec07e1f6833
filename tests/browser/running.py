"""The whole of Lenswatch on this machine, with unsure images in its queue, and Debian's Chromium to look at it."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import text

from pipeline.adapters.triton import TritonRepository
from pipeline.passwords import hash_password
from pipeline.people import Role
from tests.big.load import PASSWORD, load
from workers.bootstrap import Dependencies
from workers.local import launch, services, showcase
from workers.local.camera import landscape
from workers.local.passwords import Passwords
from workers.local.processes import Process
from workers.local.samples import CAMERAS, write_samples

CHROMIUM = Path("/usr/bin/chromium")
"""Debian's; `make e2e` installs it."""

SHARED = Path("../shared/data/real_eval")
"""Photographs by others: seen by tests where they are there, never in a picture that is kept."""

MONTH = 20_000
"""Scores that were there before, on other surfaces; their images are not."""

WINDOW = {"width": 1280, "height": 800}
PATIENCE = 180  # s, for all verdicts

LOGS = Path(".lenswatch/browser-logs")
"""Of the last run's processes."""

ALL_UNSURE = '{"samples": {"not_camera_fpr": 0.0001, "unsure_fpr": 0.9999}}'

_numbers = itertools.count(1)


@dataclass
class Desk:
    """A running stack, and what its browsers complained about."""

    url: str
    deps: Dependencies
    api_key: str
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    def person(self, role: Role, name: str | None = None) -> str:
        """A new account, whose password is `PASSWORD`; returns its name."""
        name, password = name or f"{role.value}-{next(_numbers)}", hash_password(PASSWORD)
        with self.deps.stores.transaction() as transaction:
            return transaction.accounts.add(name, role, created_by="tests", password_hash=password).name

    def window(self, *, dark: bool = False) -> Page:
        """Of a browser of its own, that nobody is signed in with."""
        context = self.browser.new_context(
            base_url=self.url, viewport=WINDOW, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda said: self._hear(page, said.type, said.text))
        return page

    def signed_in(self, role: Role, name: str | None = None, *, dark: bool = False) -> Page:
        page = self.window(dark=dark)
        sign_in(page, self.person(role, name))
        return page

    def _hear(self, page: Page, kind: str, text: str) -> None:
        """Errors of scripts, and what the content security policy forbade."""
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.complaints.append(f"{page.url}: {text}")


def sign_in(page: Page, name: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


@contextmanager
def running(images: Mapping[str, bytes], **settings: str) -> Iterator[Desk]:
    """All servers and processes in a folder of their own, a month behind them.

    `images` (name -> content) lie in the queue: the surface `samples` is set to be unsure of everything.
    """
    before = dict(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="lenswatch-browser-"))
    os.environ.update({"LENSWATCH_SURFACES": ALL_UNSURE, "LENSWATCH_SIGN_IN__SECURE_COOKIES": "false"} | settings)
    try:
        with launch.servers(folder) as (stack, deps), chromium() as browser:
            load(deps, MONTH, networks=TritonRepository(deps.settings.triton.model_repository, deps.triton))
            with services.running(stack.folder) as processes:
                announced(deps, images, processes)
                yield Desk(stack.web_url, deps, Passwords(stack.folder).get("api_key"), browser)
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.copytree(folder / "logs", LOGS, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=as_root)
        yield browser
        browser.close()


def announced(deps: Dependencies, images: Mapping[str, bytes], processes: Sequence[Process] = ()) -> None:
    """Upload them (name -> content), and wait for their verdicts."""
    events = {name: showcase.announce(deps, name, content) for name, content in images.items()}
    outcomes: Mapping[str, object] = {}
    for found in showcase.follow(deps, events, PATIENCE):
        outcomes = found
        for process in processes:
            process.require_alive()
    missing = [name for name, view in outcomes.items() if view is None]
    assert not missing, f"no verdict in {PATIENCE} s: {missing}"


def wait_until_hashed(deps: Dependencies, name: str) -> None:
    """Until beat has had the pictures of this image drawn, and of its copy: then the two are known to be alike."""
    hashed = text(
        "SELECT count(*) FROM uploads JOIN media USING (sha256)"
        " WHERE object_key IN (:first, :second) AND bucket = 'uploads' AND pdq IS NOT NULL"
    )
    keys = {"first": f"{showcase.SURFACE}/{name}", "second": f"{showcase.SURFACE}/copy-of-{name}"}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with deps.stores._engine.connect() as connection:
            if connection.scalar(hashed, keys) == 2:
                return
        time.sleep(1)
    raise AssertionError(f"{name} and its copy are not hashed after {PATIENCE} s")


def item_of(deps: Dependencies, name: str) -> int:
    """The review item of an image that was announced."""
    of_key = text("SELECT i.id FROM review_items i JOIN uploads u ON u.id = i.upload_id WHERE u.object_key = :key")
    with deps.stores._engine.connect() as connection:
        return connection.execute(of_key, {"key": f"{showcase.SURFACE}/{name}"}).scalar_one()


def photographs(count: int) -> dict[str, bytes]:
    """Real ones where there are so many, else simulated ones."""
    files = sorted(SHARED.glob("*.jpg"))[:count]
    return {file.name: file.read_bytes() for file in files} if len(files) == count else simulated(count)


def simulated(count: int, *, height: int = 480, width: int = 640) -> dict[str, bytes]:
    """Pictures of nobody's, by the cameras of the samples."""
    return {
        f"simulated-{seed:03}.jpg": CAMERAS[seed % len(CAMERAS)][2].photograph(landscape(height, width, seed), seed)
        for seed in range(count)
    }


def own_samples() -> dict[str, bytes]:
    """The samples of `lenswatch up` that are rendered here: whoever publishes a picture of them owes nobody."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_samples(Path(folder))
        return {file.name: file.read_bytes() for file in files if not file.name.startswith("photo_")}


def near_copy(content: bytes, quality: int = 55) -> bytes:
    """The same picture, saved again."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(content)) as picture:
        picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
