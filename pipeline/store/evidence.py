"""What is known of one upload, for the person who looks at it. Every query is bounded and rests on an index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CompoundSelect,
    Float,
    Integer,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    case,
    func,
    select,
    true,
    union,
)
from sqlalchemy.orm import Session, aliased

from pipeline.errors import NotFound
from pipeline.evidence import (
    CurrentVerdict,
    EarlierDecision,
    EarlierVerdict,
    Findings,
    Media,
    NearCopy,
    Neighbour,
    OpenItem,
)
from pipeline.records import (
    ItemState,
    Label,
    NotApplicableReason,
    ProvenanceClaim,
    Purpose,
    SurfacePolicy,
    VerdictKind,
)
from pipeline.store.effective import NOT_RETRACTED
from pipeline.store.models import EmbeddingRow, ExifRow, MediaRow, ScoreRow, UploadRow, VerdictRow
from pipeline.store.models_ops import ModelVersionRow
from pipeline.store.models_review import DecisionRow, ReviewItemRow
from pipeline.store.queue import IS_HELD
from pipeline.store.removal import SQLColumn
from pipeline.store.results import to_exif, to_score
from pipeline.store.uploads import to_upload
from pipeline.store.versions import to_version

NEIGHBOURS = 8
NEAR_COPIES = 20
EARLIER = 50
"""Of each, at most so many are shown."""

NEAR_COPY_BITS = 31
"""Of 256: the bound that PDQ's authors give."""

SEARCHED = 100
"""How many rows an approximate index looks at (hnsw.ef_search); pgvector's own 40 would miss near copies."""


class Evidence:
    def __init__(self, session: Session) -> None:
        self._session = session

    def of_upload(
        self, upload_id: int, *, near_bits: int, blind: bool, undo_window: timedelta = timedelta(0)
    ) -> Findings:
        """All of it. `blind`: without what people said about items that wait, or that were closed so shortly ago.

        Raises:
            NotFound: no such upload.
        """
        row = self._session.execute(KNOWN, {"upload_id": upload_id}).one_or_none()
        if row is None:
            raise NotFound(f"upload {upload_id}")
        upload, verdict, model, media, exif, score = row
        copies = self.near_copies(media.sha256, bits=near_bits, limit=NEAR_COPIES) if media else []
        near = {copy.sha256 for copy in copies}
        return Findings(
            upload=to_upload(upload),
            sha256=verdict.sha256 if verdict else None,
            media=_to_media(media) if media else None,
            exif=to_exif(exif) if exif else None,
            verdict=_to_verdict(verdict, model) if verdict else None,
            score=to_score(score) if score else None,
            earlier_verdicts=self._earlier_verdicts(upload_id),
            neighbours=self._neighbours(media.sha256, model.encoder_version) if media else (),
            near_copies=tuple(copy for copy in copies if copy.upload_id != upload_id),
            decisions=self._decisions(media.sha256, near, undo_window if blind else None) if media else (),
            open_items=self._open_items(upload_id),
        )

    def near_copies(self, sha256: str, *, limit: int, bits: int = NEAR_COPY_BITS) -> list[NearCopy]:
        """Uploads of these bytes, the asking one too, and of images whose PDQ differs in at most `bits`; nearest first.

        Of deleted objects, none.
        """
        distances = {sha256: 0} | self._near(sha256, bits)
        rows = self._session.execute(_COPIES, {"hashes": list(distances), "most": limit})
        copies = [
            _to_copy(upload, kind, item_id, held_by, distances[str(upload.sha256)])
            for upload, kind, item_id, held_by in rows
        ]
        return sorted(copies, key=lambda copy: (copy.distance, copy.sha256 != sha256, copy.item_id is None))[:limit]

    def _earlier_verdicts(self, upload_id: int) -> tuple[EarlierVerdict, ...]:
        return tuple(
            EarlierVerdict(name, VerdictKind(row.kind), p_value, log_likelihood, row.created_at)
            for row, name, p_value, log_likelihood in self._session.execute(_EARLIER, {"upload_id": upload_id})
        )

    def _neighbours(self, sha256: str, encoder_version: int) -> tuple[Neighbour, ...]:
        """The verified photographs whose embedding is nearest; of the same bytes, none."""
        self._search_widely()
        rows = self._session.execute(_NEIGHBOURS, {"own": sha256, "encoder": encoder_version})
        return tuple(Neighbour(upload_id, make, model, distance) for distance, make, model, upload_id in rows)

    def _near(self, sha256: str, bits: int) -> dict[str, int]:
        """SHA-256 -> PDQ bits that differ, of other bytes that look alike."""
        self._search_widely()
        return {
            found: round(distance) for found, distance in self._session.execute(_NEAR, {"own": sha256, "bits": bits})
        }

    def _search_widely(self) -> None:
        wide, strict = (func.set_config(f"hnsw.{name}", value, True) for name, value in _SEARCH.items())
        self._session.execute(select(wide, strict))

    def _open_items(self, upload_id: int) -> tuple[OpenItem, ...]:
        rows = self._session.execute(
            select(ReviewItemRow.id, ReviewItemRow.purpose)
            .where(ReviewItemRow.upload_id == upload_id, ReviewItemRow.state == ItemState.OPEN)
            .order_by(ReviewItemRow.id)
        )
        return tuple(OpenItem(item_id, Purpose(purpose)) for item_id, purpose in rows)

    def _decisions(
        self, sha256: str, near: Iterable[str], settled_for: timedelta | None
    ) -> tuple[EarlierDecision, ...]:
        """Of the same bytes or near copies. A golden item's answer was decided earlier: blind, nothing is shown.

        `settled_for`: blind, with those alone whose items are closed for so long; None: all.
        """
        hashes = {sha256, *near}
        if settled_for is not None and self._is_golden(hashes):
            return ()
        said = (
            select(DecisionRow, ReviewItemRow.upload_id, ReviewItemRow.purpose)
            .join(ReviewItemRow, ReviewItemRow.id == DecisionRow.review_item_id)
            .where(DecisionRow.sha256.in_(hashes), NOT_RETRACTED)
            .order_by(DecisionRow.id.desc())
            .limit(EARLIER)
        )
        if settled_for is not None:
            is_closed = ReviewItemRow.state.in_([ItemState.DECIDED, ItemState.WITHDRAWN])
            is_settled = ReviewItemRow.closed_at <= func.now() - settled_for
            said = said.where(is_closed, is_settled, ReviewItemRow.purpose != Purpose.GOLDEN)
        rows = self._session.execute(said)
        return tuple(_to_decision(row, upload_id, purpose, sha256) for row, upload_id, purpose in rows)

    def _is_golden(self, hashes: Iterable[str]) -> bool:
        golden = (ReviewItemRow.purpose == Purpose.GOLDEN) & (ReviewItemRow.state == ItemState.OPEN)
        found = select(ReviewItemRow.id).where(ReviewItemRow.sha256.in_(hashes), golden).limit(1)
        return self._session.scalars(found).first() is not None


# Statements are built once: building them takes longer than Postgres takes to answer.


def _score_of(verdict: type[VerdictRow]) -> ColumnElement[bool]:
    return (ScoreRow.sha256 == verdict.sha256) & (ScoreRow.model_version_id == verdict.model_version_id)


def _uploads_of(hashes: ColumnElement[Sequence[str]], most: ColumnElement[int]) -> CompoundSelect[int]:
    """Ids of uploads of these bytes: some of each, however many there are, and those that wait in the queue."""
    wanted = select(func.unnest(hashes).label("sha256")).subquery()
    some = select(UploadRow.id).where(UploadRow.sha256 == wanted.c.sha256, UploadRow.deleted_at.is_(None))
    waiting = select(ReviewItemRow.upload_id).where(
        ReviewItemRow.sha256 == wanted.c.sha256, ReviewItemRow.state == ItemState.OPEN
    )
    each = (rows.limit(most).lateral() for rows in (some, waiting))
    return union(*(select(rows.c[0]).select_from(wanted).join(rows, true()) for rows in each))


def _item_to_decide(upload_id: SQLColumn) -> ScalarSelect[int]:
    """Id of the upload's open item that may be decided together with others."""
    item = aliased(ReviewItemRow)
    together = item.purpose.in_([Purpose.UNSURE, Purpose.SAMPLE])
    return (
        select(item.id)
        .where(item.upload_id == upload_id, item.state == ItemState.OPEN, together)
        .order_by(item.id)
        .limit(1)
        .scalar_subquery()
    )


def _shown_upload(sha256: SQLColumn) -> ScalarSelect[int]:
    """Id of an upload whose object, with these bytes, is still there."""
    alive = select(UploadRow.id).where(UploadRow.sha256 == sha256, UploadRow.deleted_at.is_(None))
    return alive.limit(1).scalar_subquery()


def _nearest_by_pdq() -> Select[str, float]:
    own = select(MediaRow.pdq).where(MediaRow.sha256 == bindparam("own")).scalar_subquery()
    distance = MediaRow.pdq.op("<~>", return_type=Float())(own)
    nearest = select(MediaRow.sha256, distance.label("distance")).where(MediaRow.pdq.is_not(None))
    found = nearest.order_by(distance).limit(SEARCHED).subquery()
    return select(found).where(found.c.distance <= bindparam("bits"), found.c.sha256 != bindparam("own"))


def _nearest_by_embedding() -> Select[float, str, str, int]:
    its = aliased(EmbeddingRow)
    key = (its.sha256 == bindparam("own"), its.encoder_version == bindparam("encoder"))
    distance = EmbeddingRow.embedding.op("<->", return_type=Float())(
        select(its.embedding).where(*key).scalar_subquery()
    )
    nearest = select(EmbeddingRow.sha256, distance.label("distance")).where(
        EmbeddingRow.is_verified, EmbeddingRow.encoder_version == bindparam("encoder")
    )
    found = nearest.order_by(distance).limit(NEIGHBOURS + 1).subquery()  # the image itself may be among them
    return (
        select(found.c.distance, ExifRow.make, ExifRow.model, _shown_upload(found.c.sha256))
        .outerjoin(ExifRow, ExifRow.sha256 == found.c.sha256)
        .where(found.c.sha256 != bindparam("own"), found.c.distance.is_not(None))  # retention may have removed its own
        .order_by(found.c.distance)
        .limit(NEIGHBOURS)
    )


_SEARCH = {"ef_search": str(SEARCHED), "iterative_scan": "strict_order"}
_CURRENT = (VerdictRow.upload_id == UploadRow.id) & VerdictRow.superseded_at.is_(None)
KNOWN = (
    select(UploadRow, VerdictRow, ModelVersionRow, MediaRow, ExifRow, ScoreRow)
    .outerjoin(VerdictRow, _CURRENT)
    .outerjoin(ModelVersionRow, ModelVersionRow.id == VerdictRow.model_version_id)
    .outerjoin(MediaRow, MediaRow.sha256 == VerdictRow.sha256)
    .outerjoin(ExifRow, ExifRow.sha256 == VerdictRow.sha256)
    .outerjoin(ScoreRow, _score_of(VerdictRow))
    .where(UploadRow.id == bindparam("upload_id"))
)
_EARLIER = (
    select(VerdictRow, ModelVersionRow.name, ScoreRow.p_value, ScoreRow.log_likelihood)
    .join(ModelVersionRow, ModelVersionRow.id == VerdictRow.model_version_id)
    .outerjoin(ScoreRow, _score_of(VerdictRow))
    .where(VerdictRow.upload_id == bindparam("upload_id"), VerdictRow.superseded_at.is_not(None))
    .order_by(VerdictRow.id.desc())
    .limit(EARLIER)
)
_COPIES = (
    select(UploadRow, VerdictRow.kind, ReviewItemRow.id, case((IS_HELD, ReviewItemRow.held_by)))
    .outerjoin(VerdictRow, _CURRENT)
    .outerjoin(ReviewItemRow, ReviewItemRow.id == _item_to_decide(UploadRow.id))
    .where(
        UploadRow.id.in_(_uploads_of(bindparam("hashes", type_=ARRAY(Text)), bindparam("most", type_=Integer))),
        UploadRow.deleted_at.is_(None),
    )
)
_NEAR = _nearest_by_pdq()
_NEIGHBOURS = _nearest_by_embedding()


def _to_media(row: MediaRow) -> Media:
    return Media(
        sha256=row.sha256,
        byte_size=row.byte_size,
        format=row.format,
        width=row.width,
        height=row.height,
        provenance=tuple(ProvenanceClaim(**claim) for claim in row.provenance),
        rejected=row.rejected,
        not_applicable=NotApplicableReason(row.not_applicable) if row.not_applicable else None,
        detail=row.detail,
    )


def _to_verdict(row: VerdictRow, model: ModelVersionRow) -> CurrentVerdict:
    return CurrentVerdict(
        kind=VerdictKind(row.kind),
        reason=row.reason,
        policy=SurfacePolicy(**row.policy),
        model=to_version(model),
        decided_at=row.created_at,
        timings_ms=row.timings,
    )


def _to_copy(upload: UploadRow, kind: str | None, item_id: int | None, held_by: str | None, distance: int) -> NearCopy:
    return NearCopy(
        upload_id=upload.id,
        sha256=str(upload.sha256),
        distance=distance,
        surface=upload.surface,
        uploader_id=upload.uploader_id,
        uploaded_at=upload.uploaded_at,
        kind=VerdictKind(kind) if kind else None,
        item_id=item_id,
        held_by=held_by,
    )


def _to_decision(row: DecisionRow, upload_id: int, purpose: str, sha256: str) -> EarlierDecision:
    return EarlierDecision(
        item_id=row.review_item_id,
        upload_id=upload_id,
        reviewer=row.reviewer,
        label=Label(row.label),
        reason=row.reason,
        note=row.note,
        purpose=Purpose(purpose),
        is_final=row.is_final,
        created_at=row.created_at,
        is_same_image=row.sha256 == sha256,
    )
