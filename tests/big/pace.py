"""How long a reviewer waits for her next item, as her browser sees it: from the key to the next picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from playwright.sync_api import Page

from pipeline.review.items import Order, Which
from tests.browser.running import sign_in
from workers.bootstrap import Dependencies

REVIEWER = "reviewer-02"
WARM_UP = 3

WATCH = """
() => {
  window.waits = [];
  const since = (what, wait) => { wait[what] ??= performance.now() - wait.pressed; };
  const drawn = async (main, wait) => {
    const pictures = [...main.querySelectorAll(".frame img")];
    const seen = pictures.filter((picture) => picture.checkVisibility({ visibilityProperty: true }));
    await Promise.allSettled(seen.map((picture) => picture.decode()));  // a golden item's are nowhere
    requestAnimationFrame(() => setTimeout(() => since("shown", wait)));  // after the frame that shows it
  };
  document.addEventListener("keydown", () => waits.push({ pressed: performance.now() }), true);
  document.addEventListener("settled", () => since("confirmed", waits.at(-1)));
  const look = (changes) => changes.flatMap(({ addedNodes }) => [...addedNodes])
    .filter((node) => node.matches?.("main")).forEach((main) => drawn(main, waits.at(-1)));
  new MutationObserver(look).observe(document.body, { childList: true });
}
"""
"""Runs in the page. Both times are in ms; an item counts as shown when its picture is decoded and a frame was drawn."""


def uploads_to_come(deps: Dependencies, count: int) -> list[int]:
    """What waits first, oldest first."""
    with deps.stores.transaction() as transaction:
        return [listed.item.upload_id for listed in transaction.queue.page(Which(), Order.OLDEST, limit=count)]


def decide_in_a_browser(page: Page, decisions: int) -> Iterator[tuple[str, list[float]]]:
    """A row's name and its waits in seconds: pictures blurred, as they are for everybody first, then as they are."""
    sign_in(page, REVIEWER)
    blurred = _waits(page, decisions)
    page.keyboard.press("b")  # this browser remembers
    unblurred = _waits(page, decisions)
    yield "in a browser: from the key to the next item", [wait["shown"] / 1000 for wait in blurred]
    yield "the same, where pictures are not blurred", [wait["shown"] / 1000 for wait in unblurred]
    yield "in a browser: until the decision is confirmed", [wait["confirmed"] / 1000 for wait in blurred + unblurred]


def _waits(page: Page, decisions: int) -> list[Mapping[str, float]]:
    """Decide item after item by keys, each as soon as the next one is fetched."""
    page.goto("/queue")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.evaluate(WATCH)
    for number in range(WARM_UP + decisions):
        _until(page, "() => !document.querySelector('[data-ahead], [aria-busy]')")
        shown = page.url
        page.keyboard.press("cn"[number % 2])
        _until(page, f"() => waits.length > {number} && waits.at(-1).confirmed && waits.at(-1).shown")
        assert page.url != shown
    waits: list[Mapping[str, float]] = page.evaluate("() => waits")[WARM_UP:]
    return waits


def _until(page: Page, said: str) -> None:
    page.wait_for_function(said, polling=20)
