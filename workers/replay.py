"""Dead letters, done again: by HTTP and by command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from pipeline.errors import Conflict
from pipeline.records import Lane, Upload
from pipeline.store import DeadLetter, LetterFilter
from workers.bootstrap import Dependencies
from workers.stream import StreamFull, stream_name, translated

log = structlog.get_logger(__name__)

BATCH = 100
"""Letters of one transaction."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a letter became; exactly one of the two is set."""

    letter_id: int
    upload_id: int | None = None
    """Queued again, with all attempts."""
    entry_id: str | None = None
    """Of the stream's entry: the event is read once more, and may be refused once more."""


def replay(deps: Dependencies, letter_ids: list[int], *, actor: str) -> list[Replayed]:
    """Do these letters again; all of them or none.

    Raises:
        NotFound, Conflict: one of them does not exist, is resolved already, or was not kept whole.
        StreamFull, StreamUnavailable: nothing was closed; an event may have been put back, which is harmless.
    """
    with deps.stores.transaction() as transaction:
        found = [(letter_id, transaction.dead_letters.replay(letter_id, actor=actor)) for letter_id in letter_ids]
        # Before the commit: a letter must not be closed whose event got lost.
        done = [
            Replayed(letter_id, upload_id=what.id)
            if isinstance(what, Upload)
            else Replayed(letter_id, entry_id=_put_back(deps, letter_id, what))
            for letter_id, what in found
        ]
    for _, what in found:
        if isinstance(what, Upload):
            deps.send_moderation(what)  # after the commit; where it fails, the re-sender finds the row
    log.info("dead_letters_replayed", count=len(done), actor=actor)
    return done


def replay_batch(
    deps: Dependencies, which: LetterFilter, *, actor: str, after: int = 0, limit: int = BATCH
) -> tuple[list[Replayed], int | None]:
    """Do the next letters again, but for those that were not kept whole.

    Returns:
        What they became, and the number of the last one that was looked at: the next batch begins after it. None where
        no more wait.
    """
    with deps.stores.transaction() as transaction:
        letters = transaction.dead_letters.waiting(limit, after=after, which=which)
    done = replay(deps, [letter.id for letter in letters if _is_whole(letter)], actor=actor) if letters else []
    return done, letters[-1].id if len(letters) == limit else None


def replay_all(deps: Dependencies, which: LetterFilter, *, actor: str) -> Iterator[list[Replayed]]:
    """Do again whatever waits now, batch by batch; not for ever what fails anew meanwhile."""
    with deps.stores.transaction() as transaction:
        last = transaction.dead_letters.newest()
    after: int | None = 0
    while after is not None and after < last:
        done, after = replay_batch(deps, which, actor=actor, after=after)
        yield done


def _is_whole(letter: DeadLetter) -> bool:
    return letter.upload_id is not None or not (letter.payload or {}).get("cut")


def _put_back(deps: Dependencies, letter_id: int, payload: dict[str, Any]) -> str:
    """The entry as it arrived, on the stream that it came from."""
    fields = payload.get("fields")
    if payload.get("cut") or not fields:
        raise Conflict(
            f"dead letter {letter_id} could not be kept as it was: correct the event, send it, drop this one"
        )
    stream = stream_name(deps.settings.redis, Lane(payload.get("lane", Lane.LIVE)))
    with translated():
        if int(deps.redis.xlen(stream)) >= deps.settings.redis.stream_max_length:
            raise StreamFull(f"{stream} is full")
        return str(deps.redis.xadd(stream, fields))
