"""How long each page takes: a real process of the HTTP service, asked over a socket, on the big database."""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from pipeline.decode import decode
from pipeline.derived import picture_key
from pipeline.pictures import Picture, draw
from pipeline.settings import Settings
from tests.big.load import PASSWORD
from tests.big.pace import decide_in_a_browser, uploads_to_come
from tests.big.pages import PAGES, PARTS, Places
from tests.browser.running import WINDOW, chromium
from workers.bootstrap import Dependencies
from workers.local.camera import landscape
from workers.local.processes import LOOPBACK, Process, end_leftover, free_port
from workers.local.samples import CAMERAS
from workers.web.desk.shell import number

WARM_UP = 3
"""Visits of each page that do not count: a template is compiled, a model read."""

AS_A_BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}

START_TIMEOUT = 60
"""s"""


@dataclass(frozen=True, slots=True)
class Row:
    page: str
    visits: int
    p50: float
    """ms"""
    p95: float
    """ms"""
    kilobytes: float | None
    """Of the page, on average; None where a browser loads what it needs."""

    @classmethod
    def of(cls, page: str, seconds: list[float], sizes: list[int]) -> Row:
        p50, p95 = (1000 * np.quantile(seconds, share) for share in (0.5, 0.95))
        kilobytes = sum(sizes) / len(sizes) / 1024 if sizes else None
        return cls(page, len(seconds), float(p50), float(p95), kilobytes)

    def cells(self) -> tuple[str, ...]:
        return self.page, str(self.visits), f"{self.p50:.0f}", f"{self.p95:.0f}", number(self.kilobytes, 0)


def measure(folder: Path, deps: Dependencies, visits: int) -> Iterator[Row]:
    """The steps of a reviewer's loop, then each page."""
    places = Places.drawn_from(deps.stores._engine)
    uploads = [upload for upload, *_ in places.uploads]
    store_pictures(deps, uploads)
    store_pictures(deps, uploads_to_come(deps, 4 * visits))
    with served(folder, deps.settings) as url:
        yield from browsed(url, visits)
        yield from reviewers_loop(url, visits)
        with signed_in(url, "admin-01") as admin:
            for page in PAGES + PARTS:
                yield visit(admin, page.name, itertools.cycle(page.urls(places)), visits)
            for which in (Picture.THUMB, Picture.VIEW):
                urls = [f"/images/{upload}/{which.value}" for upload in uploads]
                yield visit(admin, f"picture: {which.value}", itertools.cycle(urls), visits)


def store_pictures(deps: Dependencies, uploads: list[int]) -> None:
    """As though the object of each had been drawn: a simulated photograph, in all its pictures."""
    photograph = CAMERAS[0][2].photograph(landscape(1200, 1600, seed=0), seed=0)
    made = draw(decode(photograph, deps.settings.limits), orientation=1)
    for upload in uploads:
        with deps.stores.transaction() as transaction:
            drawable = transaction.pictures.drawable(upload)
        for which, content in made.items():
            deps.objects.put(deps.settings.s3.model_bucket, picture_key(drawable, which), content)


def visit(client: httpx.Client, name: str, urls: Iterable[str], visits: int) -> Row:
    seconds, sizes = [], []
    for url in itertools.islice(urls, WARM_UP + visits):
        began = time.perf_counter()
        answer = client.get(url)
        seconds.append(time.perf_counter() - began)
        assert answer.status_code == 200, f"{url}: {answer.status_code} {answer.text}"
        sizes.append(len(answer.content))
    return Row.of(name, seconds[WARM_UP:], sizes[WARM_UP:])


def browsed(url: str, decisions: int) -> Iterator[Row]:
    """A reviewer decides item after item in Debian's Chromium, where the next item is fetched ahead."""
    with chromium() as browser:
        page = browser.new_context(base_url=url, viewport=WINDOW).new_page()
        for name, seconds in decide_in_a_browser(page, decisions):
            yield Row.of(name, seconds, [])


def reviewers_loop(url: str, decisions: int) -> Iterator[Row]:
    """A reviewer decides item after item, as a browser does it: send the decision, follow to the next item."""
    deciding, drawing, both, sizes = [], [], [], []
    with signed_in(url, "reviewer-01") as reviewer:
        csrf = re.search('name="csrf" content="([0-9a-f]+)"', reviewer.get("/queue").text)
        assert csrf
        form = {"csrf": csrf[1]}
        item = _path(reviewer.post("/queue/start", data=form))
        for number in range(WARM_UP + decisions):
            began = time.perf_counter()
            answer = reviewer.post(f"{item}/decision", data=form | {"label": "camera" if number % 2 else "not_camera"})
            decided = time.perf_counter()
            item = _path(answer)
            page = reviewer.get(item)
            ended = time.perf_counter()
            assert page.status_code == 200, page.text
            deciding.append(decided - began)
            drawing.append(ended - decided)
            both.append(ended - began)
            sizes.append(len(page.content))
    for name, seconds in (
        ("decide, and claim the next item", deciding),
        ("draw the next item's page", drawing),
        ("both: from a decision to the next item", both),
    ):
        yield Row.of(name, seconds[WARM_UP:], sizes[WARM_UP:])


def _path(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    assert path.startswith("/items/"), path
    return path


@contextmanager
def served(folder: Path, settings: Settings) -> Iterator[str]:
    """`lenswatch web` on these servers; its address."""
    port = free_port()
    environment = {
        "LENSWATCH_POSTGRES__DSN": settings.postgres.dsn.get_secret_value(),
        "LENSWATCH_REDIS__URL": settings.redis.url.get_secret_value(),
        "LENSWATCH_S3__ENDPOINT_URL": str(settings.s3.endpoint_url),
        "LENSWATCH_S3__ACCESS_KEY_ID": _said(settings.s3.access_key_id),
        "LENSWATCH_S3__SECRET_ACCESS_KEY": _said(settings.s3.secret_access_key),
        "LENSWATCH_WEB__PORT": str(port),
        "LENSWATCH_SIGN_IN__SECURE_COOKIES": "false",
    }
    end_leftover(folder.resolve(), "web")
    web = Process("web", [sys.executable, "-m", "workers", "web"], folder.resolve(), environment=environment)
    web.start()
    try:
        url = f"http://{LOOPBACK}:{port}"
        _wait(web, url)
        yield url
    finally:
        web.stop()


@contextmanager
def signed_in(url: str, name: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers=AS_A_BROWSER, timeout=60) as client:
        answer = client.post("/sign-in", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        yield client


def _wait(web: Process, url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        web.require_alive()
        try:
            httpx.get(f"{url}/sign-in", timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the web service did not answer within {START_TIMEOUT} s: {web.log_tail()}")


def _said(secret: object) -> str:
    return secret.get_secret_value() if secret else ""  # type: ignore[attr-defined]
