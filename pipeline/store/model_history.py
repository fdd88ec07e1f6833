"""Published versions as people see them, and every move of an alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from pipeline.errors import NotFound
from pipeline.store.models_ops import AliasChangeRow, ModelVersionRow


@dataclass(frozen=True, slots=True)
class Published:
    name: str
    base: str | None
    """The version whose networks a refit kept."""
    encoder_version: int
    binary_version: int
    card: Mapping[str, Any]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AliasMove:
    alias: str
    previous: str | None
    version: str | None
    """None: the alias points nowhere since, as after a challenger's promotion."""
    actor: str
    reason: str
    created_at: datetime


class ModelHistory:
    def __init__(self, session: Session) -> None:
        self._session = session

    def published(self, *, limit: int = 100) -> list[Published]:
        """Newest first."""
        rows = self._session.execute(_published().order_by(ModelVersionRow.id.desc()).limit(limit))
        return [_to_published(*row) for row in rows]

    def get(self, name: str) -> Published:
        row = self._session.execute(_published().where(ModelVersionRow.name == name)).one_or_none()
        if row is None:
            raise NotFound(f"model version {name}")
        return _to_published(*row)

    def moves(self, *, limit: int = 50) -> list[AliasMove]:
        """Newest first."""
        before, after = aliased(ModelVersionRow), aliased(ModelVersionRow)
        rows = self._session.execute(
            select(AliasChangeRow, before.name, after.name)
            .outerjoin(before, before.id == AliasChangeRow.previous_id)
            .outerjoin(after, after.id == AliasChangeRow.model_version_id)
            .order_by(AliasChangeRow.id.desc())
            .limit(limit)
        )
        return [
            AliasMove(row.alias, previous, version, row.actor, row.reason, row.created_at)
            for row, previous, version in rows
        ]


_base = aliased(ModelVersionRow)


def _published() -> Select[ModelVersionRow, str]:
    return select(ModelVersionRow, _base.name).outerjoin(_base, _base.id == ModelVersionRow.base_id)


def _to_published(row: ModelVersionRow, base: str | None) -> Published:
    return Published(row.name, base, row.encoder_version, row.binary_version, row.card, row.created_by, row.created_at)
