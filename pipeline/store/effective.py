"""Which decisions count: those that were not taken back, that no lead overruled, and that no golden answer belies."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Integer, Select, distinct, func, literal_column, select
from sqlalchemy.orm import aliased

from pipeline.records import Label
from pipeline.store.models_review import DecisionRow, RetractionRow, ReviewItemRow

NOT_RETRACTED = ~select(1).where(RetractionRow.decision_id == DecisionRow.id).exists()

_final = aliased(DecisionRow)
_NOT_OVERRULED = (
    ~select(1)
    .where(
        _final.review_item_id == DecisionRow.review_item_id,
        _final.is_final,
        _final.label != DecisionRow.label,
        ~select(1).where(RetractionRow.decision_id == _final.id).exists(),
    )
    .exists()
)
_NOT_BELIED = (
    ~select(1)
    .where(
        ReviewItemRow.id == DecisionRow.review_item_id,
        ReviewItemRow.golden_label.is_not(None),
        ReviewItemRow.golden_label != DecisionRow.label,
    )
    .exists()
)
COUNTS = NOT_RETRACTED & _NOT_OVERRULED & _NOT_BELIED


def agreed(label: Label, reviewers_needed: int) -> Select[str]:
    """SHA-256 of images that so many different reviewers gave this label."""
    return (
        select(DecisionRow.sha256)
        .where(DecisionRow.label == label, COUNTS)
        .group_by(DecisionRow.sha256)
        .having(func.count(distinct(DecisionRow.reviewer)) >= reviewers_needed)
    )


def said(label: Label) -> Select[str]:
    """SHA-256 of images that anybody gave this label."""
    return select(DecisionRow.sha256).where(DecisionRow.label == label, COUNTS)


def decided_by(reviewer: str) -> ColumnElement[bool]:
    """Whether this reviewer decided the item of the surrounding query."""
    return _finds(_hers(reviewer).where(DecisionRow.review_item_id == ReviewItemRow.id))


def judged_by(reviewer: str) -> ColumnElement[bool]:
    """Whether she decided any item of the same bytes or of the same upload."""
    other = aliased(ReviewItemRow)
    of_upload = _hers(reviewer).join(other, other.id == DecisionRow.review_item_id)
    same_upload = _finds(of_upload.where(other.upload_id == ReviewItemRow.upload_id))
    return _finds(_hers(reviewer).where(DecisionRow.sha256 == ReviewItemRow.sha256)) | same_upload


def _hers(reviewer: str) -> Select[int]:
    hers = DecisionRow.reviewer == reviewer
    return select(literal_column("1", Integer)).select_from(DecisionRow).where(hers, NOT_RETRACTED)


def _finds(rows: Select[int]) -> ColumnElement[bool]:
    """EXISTS, looked up row by row: Postgres would rather hash all that a reviewer ever decided, for one item."""
    return rows.correlate(ReviewItemRow).limit(1).scalar_subquery().is_not(None)
