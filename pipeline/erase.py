"""Erase what is known of an uploader, an object, or of bytes, and prove it by a search.

In this order, each step of which may be repeated, so that an erasure that broke off is run again with the same subject:

1. a survey says what there is, and what stays because others uploaded the same bytes (all that a dry run does);
2. rows that only *mention* the erased: audit log, events that could not be understood;
3. batch by batch, each in its own transaction: uploads and all that hangs on them, and the bytes' rows; the derived
   files of a batch go before its commit, so that a crash repeats the batch and forgets no file;
4. events that wait in front of the ledger, and once more 3: what the ledger took over meanwhile;
5. the search.

The platform's own objects, in its upload buckets, are the platform's to delete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import structlog

from pipeline.derived_files import delete_derived, derived_keys
from pipeline.errors import InvalidEvent
from pipeline.events import parse_event
from pipeline.mention import Terms
from pipeline.ports import ObjectStore
from pipeline.records import EventKind, UploadEvent

log = structlog.get_logger(__name__)

BATCH = 500
"""Uploads per transaction: some 10,000 rows, locked for about a second."""

WAITING_EVENTS, DERIVED_FILES = "waiting events", "derived files"
"""Places beside the tables, in counts."""

ObjectVersion = tuple[str, str, str]
"""Bucket, key, and what tells one version from another: version id, ETag, or `UploadEvent.identity`."""


class SubjectKind(StrEnum):
    UPLOADER = "uploader"
    OBJECT = "object"
    """All versions of an object."""
    CONTENT = "content"
    """Bytes, whoever uploaded them."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What to erase."""

    kind: SubjectKind
    name: str
    """Uploader id, object key, or SHA-256 in lower-case hexadecimal."""
    bucket: str = ""
    """Of an object."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model version that was made from erased bytes."""

    model: str
    side: str
    """`fit`, `calibration`, `held_out` (the gate's photographs), or `confirmed_ai` (the gate's AI images)."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What uploads have left in Postgres."""

    counts: Counter[str] = field(default_factory=Counter)
    """Table -> rows."""
    objects: frozenset[ObjectVersion] = frozenset()
    hashes: frozenset[str] = frozenset()
    """SHA-256 of bytes that nobody else uploaded."""
    shared: frozenset[str] = frozenset()
    """SHA-256 of bytes that somebody else uploaded too: their rows stay."""
    models: Counter[ModelUse] = field(default_factory=Counter)
    last_upload: int = 0

    def __or__(self, other: Traces) -> Traces:
        return Traces(
            self.counts + other.counts,
            self.objects | other.objects,
            self.hashes | other.hashes,
            self.shared | other.shared,
            self.models + other.models,
            max(self.last_upload, other.last_upload),
        )


class VersionRow(Protocol):
    """An upload's row, as far as it says which version of an object it is."""

    version_id: str | None
    etag: str | None
    identity: str


class ErasureStore(Protocol):
    """Runs inside the caller's transaction and never commits; `pipeline.store.Erasure`."""

    def survey(self, subject: Subject, *, after: int, limit: int) -> Traces:
        """Of the subject's next uploads after this id. Changes nothing; `last_upload` is 0 where there are none."""
        ...

    def terms(self, subject: Subject, traces: Traces) -> Terms:
        """What to look for: names of the subject and what it left, less what remaining uploads are named by, too."""
        ...

    def count_mentions(self, terms: Terms) -> Counter[str]: ...

    def remove_mentions(self, terms: Terms) -> Counter[str]:
        """Delete rows that hang on no upload but name the erased."""
        ...

    def remove(self, subject: Subject, *, after: int, limit: int) -> Traces:
        """Delete them, with all that hangs on them; returns what was deleted."""
        ...

    def search(self, terms: Terms) -> dict[str, int]:
        """Table -> rows that name any of it, over every text, JSON and array column of the database."""
        ...

    def start(self, kind: SubjectKind, actor: str) -> int:
        """Write down that an erasure began; returns its id."""
        ...

    def note(self, erasure_id: int, counts: Counter[str], models: Counter[ModelUse]) -> None:
        """Add to what the erasure has removed."""
        ...

    def finish(self, erasure_id: int, remaining: Mapping[str, int]) -> None: ...


class ErasureTransaction(Protocol):
    @property
    def erasure(self) -> ErasureStore: ...


class WaitingEvents(Protocol):
    """Events that the ledger has not taken over yet, as text."""

    def count(self, chosen: Callable[[str], bool]) -> int: ...

    def remove(self, chosen: Callable[[str], bool]) -> int:
        """Returns how many were removed."""
        ...


class Registry(Protocol):
    def aliases(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class ErasureDeps:
    transaction: Callable[[], AbstractContextManager[ErasureTransaction]]
    events: WaitingEvents
    objects: ObjectStore
    model_bucket: str
    registry: Registry


@dataclass(frozen=True, slots=True)
class ErasureReport:
    kind: SubjectKind
    erasure_id: int | None
    """Of the row that keeps counts and date; None of a dry run."""
    counts: dict[str, int]
    """Table or place -> rows, events or files that were removed, or that would be."""
    shared: list[str]
    """SHA-256 of bytes that stay, with media, EXIF, scores and embeddings: somebody else uploaded them too."""
    models: list[dict[str, Any]]
    """Models that had used erased bytes: `model`, `alias` it has now, `side`, `images`."""
    remaining: dict[str, int]
    """Table or place -> hits of the search afterwards; empty proves it. Of a dry run: empty."""

    @property
    def complete(self) -> bool:
        return not self.remaining

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.complete}


def marks(version: UploadEvent | VersionRow) -> set[str]:
    """By which a version of an object is known again, whoever announces it."""
    return {mark for mark in (version.version_id, version.etag, version.identity) if mark}


def survey(deps: ErasureDeps, subject: Subject) -> ErasureReport:
    """What an erasure would remove."""
    traces = _survey(deps, subject)
    with deps.transaction() as transaction:
        terms = transaction.erasure.terms(subject, traces)
        mentions = transaction.erasure.count_mentions(terms)
    files = Counter({DERIVED_FILES: _count_derived(deps, traces.hashes)})
    events = Counter({WAITING_EVENTS: deps.events.count(_concerns(subject, traces, terms))})
    return _report(deps, subject, None, traces, traces.counts + mentions + files + events, {})


def erase(deps: ErasureDeps, subject: Subject, *, actor: str) -> ErasureReport:
    """Erase it all; `actor` is written down. Run it again where it raised, or where `remaining` says that uploads came
    in meanwhile.

    Raises:
        StoreUnavailable, ObjectStoreUnavailable, RetryableError: what is committed by then stays erased.
    """
    found = _survey(deps, subject)
    with deps.transaction() as transaction:
        erasure_id = transaction.erasure.start(subject.kind, actor)
    with deps.transaction() as transaction:
        terms = transaction.erasure.terms(subject, found)
        counts = transaction.erasure.remove_mentions(terms)
        transaction.erasure.note(erasure_id, counts, Counter())
    gone = _remove(deps, subject, erasure_id)
    concerns = _concerns(subject, gone, terms)
    counts[WAITING_EVENTS] = deps.events.remove(concerns)
    gone |= _remove(deps, subject, erasure_id)
    with deps.transaction() as transaction:
        terms = transaction.erasure.terms(subject, gone)
        remaining = Counter(transaction.erasure.search(terms))
        remaining[WAITING_EVENTS] = deps.events.count(concerns)
        remaining[DERIVED_FILES] = _count_derived(deps, gone.hashes)
        transaction.erasure.note(erasure_id, Counter({WAITING_EVENTS: counts[WAITING_EVENTS]}), Counter())
        transaction.erasure.finish(erasure_id, +remaining)
    report = _report(deps, subject, erasure_id, gone, counts + gone.counts, +remaining)
    log.info("erased", erasure=erasure_id, kind=subject.kind.value, counts=report.counts, remaining=report.remaining)
    return report


def _survey(deps: ErasureDeps, subject: Subject) -> Traces:
    traces = Traces()
    while True:
        with deps.transaction() as transaction:
            found = transaction.erasure.survey(subject, after=traces.last_upload, limit=BATCH)
        traces |= found
        if not found.last_upload:
            return traces


def _remove(deps: ErasureDeps, subject: Subject, erasure_id: int) -> Traces:
    gone = Traces()
    while True:
        with deps.transaction() as transaction:
            batch = transaction.erasure.remove(subject, after=gone.last_upload, limit=BATCH)
            batch.counts[DERIVED_FILES] = delete_derived(deps.objects, deps.model_bucket, batch.hashes)
            transaction.erasure.note(erasure_id, batch.counts, batch.models)
        gone |= batch
        if not batch.last_upload:
            return gone


def _count_derived(deps: ErasureDeps, hashes: Iterable[str]) -> int:
    return sum(len(derived_keys(deps.objects, deps.model_bucket, sha256)) for sha256 in hashes)


def _concerns(subject: Subject, traces: Traces, terms: Terms) -> Callable[[str], bool]:
    """Whether a waiting event is about the subject, announces an erased object again, or tells of its deletion.

    Anything else stays, another version of an erased object too: it was acknowledged, and is somebody's upload.
    """
    named = Terms(names=terms.names)

    def concerns(text: str) -> bool:
        try:
            event = parse_event(text)
        except InvalidEvent:  # the ledger would bury it, with all that it says
            return named.found_in(text)
        if subject.kind is SubjectKind.UPLOADER and event.uploader_id is not None:
            return event.uploader_id == subject.name
        if subject.kind is SubjectKind.OBJECT:
            return (event.bucket, event.key) == (subject.bucket, subject.name)
        if event.kind is EventKind.DELETED:
            return event.key in terms.strings
        return any((event.bucket, event.key, mark) in traces.objects for mark in marks(event))

    return concerns


def _report(
    deps: ErasureDeps,
    subject: Subject,
    erasure_id: int | None,
    traces: Traces,
    counts: Counter[str],
    remaining: Mapping[str, int],
) -> ErasureReport:
    alias_of = {name: alias for alias, name in deps.registry.aliases().items()}
    models = [
        {"model": use.model, "alias": alias_of.get(use.model), "side": use.side, "images": images}
        for use, images in sorted(traces.models.items(), key=lambda item: (item[0].model, item[0].side))
    ]
    return ErasureReport(
        subject.kind, erasure_id, dict(sorted((+counts).items())), sorted(traces.shared), models, dict(remaining)
    )
