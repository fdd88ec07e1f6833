"""`python -m tests.browser`: pictures of every page, light and dark, from a running system (`make screenshots`).

The images on them are simulated and rendered here, so that nobody else's are published; the numbers of months are those
of `tests.big`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import Page
from rich.console import Console

from pipeline.people import Role
from tests.big.pages import PAGES, Places
from tests.browser.running import own_samples, running, simulated

FOLDER = Path("docs/desk")
COLOURS = 128
"""Of a picture: enough for pages, and a third of the bytes."""


def screenshots(folder: Annotated[Path, typer.Option(help="Where they go.")] = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    with console.status("Starting everything") as status, running(own_samples() | simulated(12)) as desk:
        places = Places.drawn_from(desk.deps.stores._engine)
        for dark in (False, True):
            page = desk.signed_in(Role.ADMIN, dark=dark)
            for visited in PAGES:
                status.update(visited.name)
                page.goto(visited.urls(places)[0], wait_until="networkidle")
                shoot(page, folder / f"{visited.name}-{'dark' if dark else 'light'}.png")
    console.print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


def shoot(page: Page, file: Path) -> None:
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    typer.run(screenshots)
