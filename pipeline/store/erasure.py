"""What an erasure finds, deletes and searches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    cast,
    column,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    table,
    text,
    true,
    union,
)
from sqlalchemy.orm import Session

from pipeline.erase import ModelUse, Subject, SubjectKind, Traces, marks
from pipeline.mention import SHA256, Terms
from pipeline.store.base import Base
from pipeline.store.models import DeadLetterRow, DeletionRow, MediaRow, UploadRow, VerdictRow
from pipeline.store.models_ops import AuditRow, ErasureRow, ModelVersionRow, TrainingMemberRow
from pipeline.store.removal import Branch, among, append_only_lifted, remove, sizes, tree

SEARCH_TIMEOUT = "10min"
"""Of each statement that reads a whole table."""

UPLOADS, MEDIA = Base.metadata.tables[UploadRow.__tablename__], Base.metadata.tables[MediaRow.__tablename__]


class Erasure:
    """Implements `erase.ErasureStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def survey(self, subject: Subject, *, after: int, limit: int) -> Traces:
        return self._traces(subject, after=after, limit=limit, delete=False)

    def remove(self, subject: Subject, *, after: int, limit: int) -> Traces:
        return self._traces(subject, after=after, limit=limit, delete=True)

    def terms(self, subject: Subject, traces: Traces) -> Terms:
        keys = {key for _, key, _ in traces.objects}
        names = {
            SubjectKind.UPLOADER: {subject.name},
            SubjectKind.OBJECT: {subject.name, f"{subject.bucket}/{subject.name}"},
            SubjectKind.CONTENT: set[str](),
        }[subject.kind]
        others = set(  # the same key in another bucket, or a version of it that somebody else uploaded
            self._session.scalars(
                select(UploadRow.object_key)
                .where(among(UploadRow.object_key, sorted(keys | names)), _of(subject).is_not(true()))
                .distinct()
            )
        )
        hashes = traces.hashes | ({subject.name} if subject.kind is SubjectKind.CONTENT else frozenset())
        return Terms(frozenset(names - others), frozenset(keys - others), hashes)

    def count_mentions(self, terms: Terms) -> Counter[str]:
        counts = {
            found.name: self._session.scalar(select(func.count()).select_from(found).where(rows)) or 0
            for found, rows in _loose(terms)
        }
        return +Counter(counts)

    def remove_mentions(self, terms: Terms) -> Counter[str]:
        counts: Counter[str] = Counter()
        with append_only_lifted(self._session):
            for found, rows in _loose(terms):
                counts[found.name] = len(
                    self._session.execute(delete(found).where(rows).returning(literal(1))).fetchall()
                )
        return +counts

    def search(self, terms: Terms) -> dict[str, int]:
        self._session.execute(text(f"SET LOCAL statement_timeout = '{SEARCH_TIMEOUT}'"))
        hits = {}
        for name, columns in self._text_columns().items():
            found = table(name, *(column(each) for each in columns))
            rows = _mentions(_as_text(found.c), terms)
            hits[name] = self._session.scalar(select(func.count()).select_from(found).where(rows)) or 0
        return {name: count for name, count in hits.items() if count}

    def start(self, kind: SubjectKind, actor: str) -> int:
        row = ErasureRow(kind=kind, actor=actor)
        self._session.add(row)
        self._session.flush()
        return row.id

    def note(self, erasure_id: int, counts: Counter[str], models: Counter[ModelUse]) -> None:
        row = self._session.get_one(ErasureRow, erasure_id, with_for_update=True)
        noted = Counter({ModelUse(use["model"], use["side"]): use["images"] for use in row.models or []})
        row.counts = dict(Counter(row.counts or {}) + counts)
        row.models = [
            {"model": use.model, "side": use.side, "images": images} for use, images in (noted + models).items()
        ]
        self._session.flush()

    def finish(self, erasure_id: int, remaining: Mapping[str, int]) -> None:
        row = self._session.get_one(ErasureRow, erasure_id)
        row.remaining, row.finished_at = dict(remaining), func.now()
        self._session.flush()

    def _traces(self, subject: Subject, *, after: int, limit: int, delete: bool) -> Traces:
        chosen = select(UploadRow).where(_of(subject), UploadRow.id > after).order_by(UploadRow.id).limit(limit)
        rows = self._session.scalars(chosen.with_for_update() if delete else chosen).all()
        uploads = tree(self._session, UPLOADS, [row.id for row in rows], lock=delete)
        hashes = self._hashes(uploads)
        if subject.kind is SubjectKind.CONTENT:  # an object that was overwritten leaves bytes that no upload has
            hashes |= {subject.name}
        shared = self._of_others(subject, hashes)
        media = tree(self._session, MEDIA, hashes - shared, lock=delete)
        models = self._models(hashes - shared)
        audited = _audited(uploads)
        counts = sizes([*uploads, *media])
        if delete:
            with append_only_lifted(self._session):
                self._session.execute(audited)
            remove(self._session, [*media, *uploads])
        return Traces(
            counts=counts,
            objects=frozenset((row.bucket, row.object_key, mark) for row in rows for mark in marks(row)),
            hashes=frozenset(hashes - shared),
            shared=frozenset(shared),
            models=models,
            last_upload=rows[-1].id if rows else 0,
        )

    def _hashes(self, branches: Iterable[Branch]) -> set[str]:
        """Of all bytes that these rows are about: an object that was overwritten had others before."""
        return {
            sha256
            for branch in branches
            if branch.keys and "sha256" in branch.table.c
            for sha256 in self._session.scalars(select(branch.table.c.sha256).where(branch.rows).distinct())
            if sha256 is not None
        }

    def _of_others(self, subject: Subject, hashes: set[str]) -> set[str]:
        """Those that an upload besides the subject's has, or had when a verdict was given."""
        others, values = _of(subject).is_not(true()), sorted(hashes)
        now = select(UploadRow.sha256).where(among(UploadRow.sha256, values), others)
        then = (
            select(VerdictRow.sha256)
            .join(UploadRow, UploadRow.id == VerdictRow.upload_id)
            .where(among(VerdictRow.sha256, values), others)
        )
        return {sha256 for sha256 in self._session.scalars(union(now, then)) if sha256 is not None}

    def _models(self, hashes: set[str]) -> Counter[ModelUse]:
        rows = self._session.execute(
            select(ModelVersionRow.name, TrainingMemberRow.side, func.count())
            .join(ModelVersionRow, ModelVersionRow.id == TrainingMemberRow.model_version_id)
            .where(among(TrainingMemberRow.sha256, sorted(hashes)))
            .group_by(ModelVersionRow.name, TrainingMemberRow.side)
        )
        return Counter({ModelUse(name, side): count for name, side, count in rows})

    def _text_columns(self) -> dict[str, Sequence[str]]:
        """Table -> its columns that can hold a name, as the database has them: also a table that no model describes."""
        rows = self._session.execute(
            text(
                "SELECT table_name::text, array_agg(column_name::text) AS columns FROM information_schema.columns "
                "WHERE table_schema = current_schema() "
                "AND udt_name IN ('text', 'varchar', 'bpchar', 'json', 'jsonb', '_text', '_varchar') "
                "GROUP BY table_name ORDER BY table_name"
            )
        )
        return {row.table_name: row.columns for row in rows}


def _of(subject: Subject) -> ColumnElement[bool]:
    """The subject's uploads."""
    match subject.kind:
        case SubjectKind.UPLOADER:
            return UploadRow.uploader_id == subject.name
        case SubjectKind.OBJECT:
            return and_(UploadRow.bucket == subject.bucket, UploadRow.object_key == subject.name)
        case SubjectKind.CONTENT:
            earlier: Select[Any] = select(VerdictRow.upload_id).where(VerdictRow.sha256 == subject.name)
            return or_(UploadRow.sha256 == subject.name, UploadRow.id.in_(earlier))


def _audited(branches: Iterable[Branch]) -> Any:
    """Deletes audit entries about these rows."""
    subjects = [f"{branch.table.name.removesuffix('s')}:{key}" for branch in branches for key in branch.keys]
    return delete(AuditRow).where(among(AuditRow.subject, subjects))


def _loose(terms: Terms) -> list[tuple[Table, ColumnElement[bool]]]:
    """Tables whose rows may name an erased thing without hanging on it, and which rows do."""
    letters, audit, deletions = (
        Base.metadata.tables[row.__tablename__] for row in (DeadLetterRow, AuditRow, DeletionRow)
    )
    return [
        (letters, letters.c.upload_id.is_(None) & _mentions(_as_text([letters.c.payload, letters.c.detail]), terms)),
        (audit, _mentions(_as_text([audit.c.subject, audit.c.detail]), terms)),
        (deletions, _mentions(_as_text([deletions.c.object_key]), terms)),
    ]


def _as_text(columns: Iterable[Any]) -> ColumnElement[str]:
    """Several columns of any type, as one JSON text."""
    return cast(func.jsonb_build_array(*columns), Text)


def _mentions(content: ColumnElement[str], terms: Terms) -> ColumnElement[bool]:
    """`Terms.found_in`, in SQL. Linear in the text: whole strings and hashes are looked up, not tried one by one."""
    ways: list[ColumnElement[bool]] = []
    for spelling, word in terms.words.items():  # most rows do not hold it at all, which is quickly seen
        ways.append(and_(func.strpos(content, spelling) > 0, content.regexp_match(word)))
    if terms.whole:
        part = func.string_to_table(func.replace(content, "\\", ""), '"', type_=Text).column_valued("part")
        ways.append(_any_row(among(part, terms.whole)))
    if terms.hashes:
        found = func.regexp_matches(content, SHA256, "g", type_=ARRAY(Text)).column_valued("found")
        ways.append(_any_row(among(found[1], sorted(terms.hashes))))
    return or_(false(), *ways)


def _any_row(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(literal(1)).where(condition).exists()
