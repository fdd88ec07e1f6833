"""Erasure on request: what `lenswatch erase` does, by HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.erase import Subject, SubjectKind, erase, survey
from pipeline.people import KeyRole
from workers.web.auth import require_key
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1/erasures",
    tags=["erasure"],
    dependencies=[Depends(require_key(KeyRole.ADMIN))],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


class ErasureRequest(BaseModel):
    """Names one uploader, one object or one content; in the body, since addresses end in logs."""

    model_config = ConfigDict(extra="forbid")

    uploader_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    bucket: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    key: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    actor: str = Field(min_length=1, max_length=100, description="Who decides this; it is written down.")
    dry_run: bool = False

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if sum(value is not None for value in (self.uploader_id, self.key, self.sha256)) != 1:
            raise ValueError("give one of uploader_id, key (with its bucket), sha256")
        if (self.key is None) != (self.bucket is None):
            raise ValueError("a key and its bucket go together")
        return self

    @property
    def subject(self) -> Subject:
        if self.uploader_id is not None:
            return Subject(SubjectKind.UPLOADER, self.uploader_id)
        if self.key is not None:
            return Subject(SubjectKind.OBJECT, self.key, self.bucket or "")
        return Subject(SubjectKind.CONTENT, self.sha256 or "")


class Erased(BaseModel):
    kind: SubjectKind
    erasure_id: int | None
    """Keep it with your own record of the request: here nothing else tells what it was about. Null of a dry run."""
    counts: dict[str, int]
    shared: list[str]
    models: list[dict[str, Any]]
    remaining: dict[str, int]
    complete: bool
    """False: see `remaining`, and ask again."""


@router.post("")
def erase_now(request: ErasureRequest, deps: Deps) -> Erased:
    """Erase, then search for what is left. Seconds per thousand uploads; asked again, it goes on where it broke off."""
    if request.dry_run:
        return Erased.model_validate(survey(deps.erasure, request.subject).as_json())
    return Erased.model_validate(erase(deps.erasure, request.subject, actor=request.actor).as_json())
