"""The model registry's rows: published versions and where the aliases point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import Conflict, NotFound
from pipeline.records import ModelVersion
from pipeline.store.models_ops import AliasChangeRow, AuditRow, ModelAliasRow, ModelVersionRow


class Versions:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        *,
        name: str,
        encoder_version: int,
        binary_version: int,
        artifact_prefix: str,
        card: Mapping[str, Any],
        created_by: str,
        base_id: int | None = None,
    ) -> ModelVersion:
        """Raises Conflict where the name is taken: a version is never edited."""
        row = self._session.scalars(
            insert(ModelVersionRow)
            .values(
                name=name,
                base_id=base_id,
                encoder_version=encoder_version,
                binary_version=binary_version,
                artifact_prefix=artifact_prefix,
                card=dict(card),
                created_by=created_by,
            )
            .on_conflict_do_nothing()
            .returning(ModelVersionRow)
        ).one_or_none()
        if row is None:
            raise Conflict(f"model version {name} exists already")
        return to_version(row)

    def list_all(self) -> list[ModelVersion]:
        """Newest first."""
        return [
            to_version(row)
            for row in self._session.scalars(select(ModelVersionRow).order_by(ModelVersionRow.id.desc()))
        ]

    def get(self, name: str) -> ModelVersion:
        row = self._session.scalars(select(ModelVersionRow).where(ModelVersionRow.name == name)).one_or_none()
        if row is None:
            raise NotFound(f"model version {name}")
        return to_version(row)

    def aliases(self) -> dict[str, str]:
        """Alias -> name of the version it points to; an alias that points nowhere is left out."""
        rows = self._session.execute(
            select(ModelAliasRow.alias, ModelVersionRow.name).join(
                ModelVersionRow, ModelVersionRow.id == ModelAliasRow.model_version_id
            )
        )
        return {row.alias: row.name for row in rows}

    def resolve(self, alias: str) -> ModelVersion:
        """Raises `NotFound` where the alias points nowhere."""
        row = self._session.scalars(
            select(ModelVersionRow)
            .join(ModelAliasRow, ModelAliasRow.model_version_id == ModelVersionRow.id)
            .where(ModelAliasRow.alias == alias)
        ).one_or_none()
        if row is None:
            raise NotFound(f"no model version is the {alias}")
        return to_version(row)

    def point(self, alias: str, version_id: int | None, *, actor: str, reason: str) -> int | None:
        """Move an alias, under its lock, and write down who did and why. Returns where it pointed before."""
        self._session.execute(insert(ModelAliasRow).values(alias=alias).on_conflict_do_nothing())
        row = self._session.get_one(ModelAliasRow, alias, with_for_update=True, populate_existing=True)
        previous = row.model_version_id
        if previous == version_id:
            return previous
        row.model_version_id, row.updated_at = version_id, func.now()
        self._session.add(
            AliasChangeRow(alias=alias, previous_id=previous, model_version_id=version_id, actor=actor, reason=reason)
        )
        detail = {"from": previous, "to": version_id, "reason": reason}
        self._session.add(AuditRow(actor=actor, action="model.alias_moved", subject=f"model:{alias}", detail=detail))
        self._session.flush()
        return previous

    def before(self, alias: str) -> ModelVersion:
        """The version that a rollback of the alias brings back.

        A move back to the version before counts as taking the last move back, so that rollbacks go further and further
        back, not to and fro. Raises `NotFound` where the alias points nowhere, or to its first version.
        """
        current = self.resolve(alias)
        moves = self._session.scalars(
            select(AliasChangeRow.model_version_id)
            .where(AliasChangeRow.alias == alias, AliasChangeRow.model_version_id.is_not(None))
            .order_by(AliasChangeRow.id)
        )
        path: list[int | None] = []
        for version_id in moves:
            if path[-2:-1] == [version_id]:
                path.pop()
            else:
                path.append(version_id)
        if len(path) < 2:
            raise NotFound(f"{current.name} is the first {alias}")
        return to_version(self._session.get_one(ModelVersionRow, path[-2]))


def to_version(row: ModelVersionRow) -> ModelVersion:
    return ModelVersion(
        id=row.id,
        name=row.name,
        encoder_version=row.encoder_version,
        binary_version=row.binary_version,
        artifact_prefix=row.artifact_prefix,
        card=row.card,
    )
