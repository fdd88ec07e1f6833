"""Every page of the review desk, at the addresses where people have it open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, text


@dataclass(frozen=True, slots=True)
class Places:
    """What pages are about, drawn from a loaded database."""

    items: list[int]
    """Open, from all over the queue."""
    appeals: list[int]
    disputes: list[int]
    uploads: list[tuple[int, str, str, str]]
    """Id, object key, uploader, SHA-256."""

    @classmethod
    def drawn_from(cls, engine: Engine, most: int = 50) -> Places:
        with engine.connect() as connection:

            def numbers(where: str) -> list[int]:
                found = list(connection.scalars(text(f"SELECT id FROM review_items WHERE {where} ORDER BY id")))
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
            )


@dataclass(frozen=True, slots=True)
class Visited:
    """A page, and how it is asked for."""

    name: str
    urls: Callable[[Places], list[str]]


PAGES: tuple[Visited, ...] = (
    Visited("overview", lambda _: ["/"]),
    Visited("people", lambda _: ["/people"]),
)
