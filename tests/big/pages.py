"""Every page of the review desk, at the addresses where people have it open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from sqlalchemy import Engine, text

from pipeline.settings import DEFAULT_RELEASE
from tests.big.rows import REVIEWERS, SURFACES


@dataclass(frozen=True, slots=True)
class Places:
    """What pages are about, drawn from a loaded database."""

    items: list[int]
    """Open, from all over the queue."""
    appeals: list[int]
    disputes: list[int]
    uploads: list[tuple[int, str, str, str]]
    """Id, object key, uploader, SHA-256."""
    letters: list[int]

    @classmethod
    def drawn_from(cls, engine: Engine, most: int = 50) -> Places:
        with engine.connect() as connection:

            def numbers(where: str, table: str = "review_items") -> list[int]:
                found = list(connection.scalars(text(f"SELECT id FROM {table} WHERE {where} ORDER BY id")))
                return found[:: max(1, len(found) // most)][:most]

            last = connection.execute(text("SELECT max(id) FROM uploads")).scalar_one()
            chosen = [last * number // most for number in range(1, most)]
            uploads = connection.execute(
                text("SELECT id, object_key, uploader_id, sha256 FROM uploads WHERE id = ANY(:ids)"), {"ids": chosen}
            )
            return cls(
                items=numbers("state = 'open' AND purpose = 'unsure'"),
                appeals=numbers("state = 'open' AND purpose = 'appeal'"),
                disputes=numbers("state = 'disputed'"),
                uploads=[tuple(row) for row in uploads],
                letters=numbers("resolved_at IS NULL", "dead_letters"),
            )


@dataclass(frozen=True, slots=True)
class Visited:
    """A page, and how it is asked for: first as it is pictured, then otherwise."""

    name: str
    urls: Callable[[Places], list[str]]


def _queue(places: Places) -> list[str]:
    filters = [
        "",
        "order=riskiest",
        "surface=posts",
        "surface=news&order=riskiest",
        "lane=rescore",
        "kind=unsure",
        "format=AVIF",
        "camera_make=Panasonic",
        "model_version_id=2",
        "purpose=sample",
        "min_hours=24",
        "surface=dating&format=AVIF&camera_make=SONY",
    ]
    return [f"/queue?{one}" for one in filters] + [f"/queue?after={item}" for item in places.items[::5]]


def _search(places: Places) -> list[str]:
    return [
        f"/search?{query}"
        for _, key, uploader, sha256 in places.uploads
        for query in (
            urlencode({"by": "key", "q": key[:-6]}),
            urlencode({"by": "uploader", "q": uploader}),
            urlencode({"by": "sha256", "q": sha256}),
        )
    ]


def _audit(places: Places) -> list[str]:
    some = [f"actor={name}" for name in REVIEWERS[::5]] + [f"subject=review_item:{item}" for item in places.items[::5]]
    since = (datetime.now(UTC) - timedelta(days=3)).date()
    return [
        "/audit",
        *(f"/audit?{one}" for one in some),
        f"/audit?since={since}",
        f"/audit?actor=lead-01&since={since}",
    ]


def _thresholds(part: str) -> Callable[[Places], list[str]]:
    asked = ["", "?not_camera=1&unsure=5", "?not_camera=3&unsure=20&days=30"]
    return lambda _: [f"/thresholds/{surface}{part}{query}" for query in asked for surface in SURFACES]


PAGES: tuple[Visited, ...] = (
    Visited("overview", lambda _: ["/"]),
    Visited("queue", _queue),
    Visited("appeals", lambda _: ["/queue?purpose=appeal"]),
    Visited("item", lambda places: [f"/items/{item}" for item in places.items]),
    Visited("appeal", lambda places: [f"/items/{item}" for item in places.appeals]),
    Visited("disputes", lambda places: ["/disputes", *(f"/disputes?after={item}" for item in places.disputes[::5])]),
    Visited("dispute", lambda places: [f"/items/{item}" for item in places.disputes]),
    Visited("upload", lambda places: [f"/uploads/{upload}" for upload, *_ in places.uploads]),
    Visited("search", _search),
    Visited("thresholds", lambda _: ["/thresholds", "/thresholds?days=30"]),
    Visited("threshold", _thresholds("")),
    Visited("quality", lambda _: ["/quality", "/quality?days=7"]),
    Visited(
        "drift", lambda _: [f"/drift?surface={name}&days={days}" for days in (7, 30) for name in SURFACES] + ["/drift"]
    ),
    Visited("models", lambda _: ["/models"]),
    Visited("model", lambda _: [f"/models/{DEFAULT_RELEASE.name}-refit", f"/models/{DEFAULT_RELEASE.name}"]),
    Visited("letters", lambda _: ["/letters", "/letters?reason=timeout", "/letters?stage=score", "/letters?after=5"]),
    Visited("letter", lambda places: [f"/letters/{letter}" for letter in places.letters]),
    Visited("audit", _audit),
    Visited("people", lambda _: ["/people", "/people?after=reviewer-05"]),
)

PARTS = (Visited("thresholds that a slider asks for", _thresholds("/preview")),)
"""Of a page, fetched by a script."""
