"""`lenswatch submit` and `lenswatch backfill`: events by hand, and for everything that a bucket holds already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.ports import ObjectInfo, ObjectStore
from pipeline.records import Lane, UploadEvent
from pipeline.settings import Settings
from workers.bootstrap import Dependencies
from workers.reconcile import announce
from workers.stream import submit as put_on_stream

PROGRESS = (
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.completed:,} {task.fields[done]}"),
    TimeElapsedColumn(),
)
"""Of work whose length nobody knows: a listing does not say how long it is."""


def submit(
    file: Annotated[
        Path | None, typer.Argument(help="A local image; it is put into the bucket first.", exists=True, dir_okay=False)
    ] = None,
    bucket: Annotated[str | None, typer.Option(help="Bucket [the first configured one].")] = None,
    key: Annotated[str | None, typer.Option(help="Object key [derived from the file's bytes].")] = None,
    version_id: Annotated[str | None, typer.Option(help="Of an object that is in the bucket already.")] = None,
    etag: Annotated[str | None, typer.Option(help="Of an object that is in the bucket already.")] = None,
    event_id: Annotated[str | None, typer.Option(help="Your id of this event [derived from the object].")] = None,
    surface: Annotated[str, typer.Option(help="Where it was uploaded.")] = "default",
    uploader: Annotated[str | None, typer.Option(help="Opaque id of who uploaded it.")] = None,
    lane: Annotated[Lane, typer.Option(help="Which queue it waits in.")] = Lane.LIVE,
    callback: Annotated[str | None, typer.Option(help="Name of the webhook that gets the verdict.")] = None,
) -> None:
    """Announce one upload: a file of yours, or an object in a bucket (--key). Prints the event's id and its entry's."""
    settings = Settings()
    bucket = bucket or settings.s3.buckets[0]
    with Dependencies(settings) as deps:
        if file is not None:
            content = file.read_bytes()
            key = key or f"submitted/{hashlib.sha256(content).hexdigest()[:16]}/{file.name}"
            etag = deps.objects.put(bucket, key, content)
        elif key is None:
            raise typer.BadParameter("give a FILE, or the --key of an object")
        event = UploadEvent(
            event_id=event_id or derived_id("submit", bucket, key, version_id or etag or ""),
            bucket=bucket,
            key=key,
            version_id=version_id,
            etag=etag,
            uploaded_at=datetime.now(UTC),
            surface=surface,
            uploader_id=uploader,
            lane=lane,
            callback=callback,
        )
        entry_id = put_on_stream(deps.redis, settings, event, door="submit")
    typer.echo(f"{event.event_id} {entry_id}")


def backfill(
    address: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX")],
    surface: Annotated[str, typer.Option(help="Where these were uploaded.")] = "default",
) -> None:
    """Announce every object under a prefix, on the backfill lane.

    Run it again after an interruption: an object with the same ETag is one event, however often it is announced.
    """
    bucket, prefix = parse_address(address)
    count = 0
    with Dependencies(Settings()) as deps, Progress(*PROGRESS, console=Console(stderr=True)) as progress:
        task = progress.add_task(address, total=None, done="announced")
        for found in _objects(deps.objects, bucket, prefix):
            announce(deps, backfill_event(found, surface), door="backfill")
            progress.advance(task)
            count += 1
    typer.echo(f"{count} announced")


def backfill_event(found: ObjectInfo, surface: str) -> UploadEvent:
    """The event of an object that a listing shows; the same object gives the same event."""
    return UploadEvent(
        event_id=derived_id("backfill", found.bucket, found.key, found.etag),
        bucket=found.bucket,
        key=found.key,
        etag=found.etag,
        uploaded_at=found.last_modified,
        surface=surface,
        lane=Lane.BACKFILL,
    )


def derived_id(door: str, *identity: str) -> str:
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()
    return f"{door}:{digest[:32]}"


def parse_address(address: str) -> tuple[str, str]:
    """`s3://bucket/prefix` -> (bucket, prefix)."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket:
        raise typer.BadParameter(f"{address!r} is not of the form s3://bucket/prefix")
    return bucket, prefix


def _objects(store: ObjectStore, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
    return (found for found in store.list_objects(bucket, prefix) if not found.key.endswith("/"))  # folder markers
