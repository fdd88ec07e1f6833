"""Which pictures there are, are missing, or are nobody's any more; the files themselves lie in S3."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from pipeline.errors import NotFound
from pipeline.evidence import Drawable
from pipeline.records import ItemState
from pipeline.store.evidence import KNOWN
from pipeline.store.models import MediaRow, UploadRow
from pipeline.store.models_review import ReviewItemRow
from pipeline.store.results import to_score
from pipeline.store.uploads import to_upload


class Pictures:
    """Implements `derived.PictureStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def drawable(self, upload_id: int) -> Drawable:
        row = self._session.execute(KNOWN, {"upload_id": upload_id}).one_or_none()
        if row is None or row[3] is None:
            raise NotFound(f"there are no pictures of upload {upload_id}: no bytes of it were looked at")
        upload, _, _, media, exif, score = row
        if upload.deleted_at is not None:
            raise NotFound(f"the object of upload {upload_id} was deleted")
        if media.rejected is not None or media.width is None or media.height is None:
            raise NotFound(f"upload {upload_id} is no image that can be shown: {media.rejected}")
        return Drawable(
            event=to_upload(upload).event,
            sha256=media.sha256,
            format=media.format,
            width=media.width,
            height=media.height,
            tags=exif.tags if exif else {},
            score=to_score(score) if score else None,
            model_id=score.model_version_id if score else None,
        )

    def mark_drawn(self, sha256: str) -> None:
        held = self._session.get(MediaRow, sha256, with_for_update=True)
        if held is None:
            raise NotFound("the bytes were erased")
        if not self._alive([sha256]):  # asked only now: whoever deletes the object from here on finds the mark
            raise NotFound("the object was deleted")
        held.drawn_at = func.now()

    def claim_left(self, limit: int) -> list[str]:
        """SHA-256 of images whose pictures nobody needs any more: every object with these bytes was deleted.

        They count as removed with the transaction's commit.
        """
        left = select(MediaRow).where(MediaRow.left_at.is_not(None)).order_by(MediaRow.left_at).limit(limit)
        rows = self._session.scalars(left.with_for_update(skip_locked=True)).all()
        alive = self._alive([row.sha256 for row in rows])
        gone = [row for row in rows if row.sha256 not in alive]
        for row in rows:
            row.left_at = None
        for row in gone:
            row.drawn_at = None
        return [row.sha256 for row in gone]

    def set_pdq(self, sha256: str, bits: str) -> None:
        self._session.execute(update(MediaRow).where(MediaRow.sha256 == sha256).values(pdq=bits))

    def claim_unprepared(self) -> tuple[int, int] | None:
        """Mark the oldest open item without pictures as prepared, and return its id and its upload's; None: all are.

        Marked before anything is drawn, and committed so: an image that kills its worker is not drawn again.
        """
        oldest = (
            select(ReviewItemRow.id)
            .where(ReviewItemRow.state == ItemState.OPEN, ReviewItemRow.prepared_at.is_(None))
            .order_by(ReviewItemRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        claimed = self._session.execute(
            update(ReviewItemRow)
            .where(ReviewItemRow.id == oldest)
            .values(prepared_at=func.now())
            .returning(ReviewItemRow.id, ReviewItemRow.upload_id)
        ).one_or_none()
        return (claimed.id, claimed.upload_id) if claimed else None

    def unprepare(self, item_id: int) -> None:
        """Give a claim back: a server was away."""
        self._session.execute(update(ReviewItemRow).where(ReviewItemRow.id == item_id).values(prepared_at=None))

    def _alive(self, hashes: Sequence[str]) -> set[str]:
        """Which of these bytes an object still has."""
        of_object = exists().where(UploadRow.sha256 == MediaRow.sha256, UploadRow.deleted_at.is_(None))
        return set(self._session.scalars(select(MediaRow.sha256).where(MediaRow.sha256.in_(hashes), of_object)))
