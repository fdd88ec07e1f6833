"""Which review items are asked for, in a URL or a body; the API and the desk understand the same words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.records import Lane, Purpose, VerdictKind
from pipeline.review.items import Order, Which


class Asked(BaseModel):
    """Which items, and in which order. Without a purpose: all but appeals, which are a queue of their own."""

    model_config = ConfigDict(extra="ignore")

    surface: str | None = Field(default=None, max_length=64)
    lane: Lane | None = None
    kind: VerdictKind | None = Field(default=None, description="Of the verdict.")
    format: str | None = Field(default=None, max_length=20)
    camera_make: str | None = Field(default=None, max_length=200, description="As the header claims.")
    model_version_id: int | None = None
    min_hours: float | None = Field(default=None, ge=0, le=100_000, description="Waiting for at least so long.")
    purpose: Purpose | None = None
    order: Order = Order.OLDEST

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, values: Any) -> Any:
        """A form sends every field; what is blank asks for nothing. Golden items are mixed in, not asked for."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value != "" and (name, value) != ("purpose", "golden")}

    @property
    def which(self) -> Which:
        values = self.model_dump(exclude={"order", "min_hours"})
        return Which(**values, min_age=timedelta(hours=self.min_hours) if self.min_hours is not None else None)

    @property
    def query(self) -> str:
        """For a URL: what differs from the defaults."""
        return urlencode(self.model_dump(mode="json", exclude_defaults=True))
