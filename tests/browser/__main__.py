"""`python -m tests.browser`: pictures of every page, light and dark, from a running system (`make screenshots`).

The images on them are simulated and rendered here, so that nobody else's are published; the numbers of months are those
of `tests.big`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import Page
from rich.console import Console

from pipeline.people import Role
from tests.big.pages import PAGES, Places
from tests.browser.running import item_of, near_copy, own_samples, running, sign_in, simulated, wait_until_hashed

FOLDER = Path("docs/desk")
SAMPLES = {
    "queue": "/queue?surface=samples&order=riskiest",
    "search": "/search?by=key&q=samples%2F",
}
"""Pages that show more than the first of their usual addresses does."""

WITHOUT_PICTURE = {"item", "appeal", "dispute", "upload"}
"""Pages of loaded items, whose images are not there; a sample stands for them."""

NAMED = "simulated_iso100.jpg"

SURE = '{"samples": {"not_camera_fpr": 0.02, "unsure_fpr": 0.99}}'
"""Thresholds that ask about nearly every sample, whatever the release makes of it."""

COLOURS = 256
"""Of a picture: enough for pages, and a third of the bytes."""


def screenshots(folder: Annotated[Path, typer.Option(help="Where they go.")] = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    images = own_samples()
    images |= {f"copy-of-{NAMED}": near_copy(images[NAMED])} | simulated(12)
    with console.status("Starting everything") as status, running(images, LENSWATCH_SURFACES=SURE) as desk:
        wait_until_hashed(desk.deps, NAMED)
        name, item = desk.person(Role.ADMIN, "ada"), item_of(desk.deps, NAMED)
        for scheme in ("light", "dark"):
            page = desk.window(dark=scheme == "dark")
            for shown in walk(page, name, item, Places.drawn_from(desk.deps.stores._engine)):
                status.update(f"{shown}, {scheme}")
                shoot(page, folder / f"{shown}-{scheme}.png")
    console.print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


def walk(page: Page, name: str, item: int, places: Places) -> Iterator[str]:
    """From page to page; the name of each, once it is there to be seen."""
    page.goto("/sign-in")
    yield "sign-in"
    sign_in(page, name)
    for visited in PAGES:
        if visited.name not in WITHOUT_PICTURE:
            page.goto(SAMPLES.get(visited.name) or visited.urls(places)[0], wait_until="networkidle")
            yield visited.name
    page.goto(f"/search?by=key&q=samples/{NAMED}")
    page.locator("tbody a").first.click()
    wait_for_images(page)
    yield "upload"
    page.goto(f"/items/{item}")
    if page.get_by_role("button", name="Take it").count():  # it is hers from the second walk on
        page.keyboard.press("Enter")
        page.get_by_text("Yours for").wait_for()
    page.keyboard.press("b")  # these pictures hurt nobody
    wait_for_images(page)
    yield "deciding"
    page.keyboard.press("h")
    wait_for_images(page)
    yield "heat-map"
    page.keyboard.press("d")
    page.wait_for_url("**/copies*")
    wait_for_images(page)
    yield "near-copies"


IMAGES_ARE_THERE = """[...document.images].every((image) =>
    !image.offsetParent || image.getBoundingClientRect().top > innerHeight || image.complete)"""


def wait_for_images(page: Page) -> None:
    """Those that are shown; the others, further down too, may not be loaded before they are wanted."""
    while not page.evaluate(IMAGES_ARE_THERE):
        page.wait_for_timeout(100)  # ms; `wait_for_function` is what the content security policy forbids
    page.wait_for_load_state("networkidle")


def shoot(page: Page, file: Path) -> None:
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    typer.run(screenshots)
