"""Nightly jobs: which of them ran."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.store.models_ops import JobRunRow


class Jobs:
    def __init__(self, session: Session) -> None:
        self._session = session

    def begin(self, job: str, *, due: datetime, lease: timedelta) -> bool:
        """Whether the job is to run now: it has not ended since `due`, and nobody began it within `lease`."""
        begun = insert(JobRunRow).values(job=job, started_at=func.now())
        ended = JobRunRow.finished_at
        mine = begun.on_conflict_do_update(
            index_elements=["job"],
            set_={"started_at": func.now(), "finished_at": None},
            where=or_(ended < due, ended.is_(None) & (JobRunRow.started_at < func.now() - lease)),
        ).returning(JobRunRow.job)
        return self._session.scalars(mine).one_or_none() is not None

    def finish(self, job: str) -> None:
        self._session.execute(update(JobRunRow).where(JobRunRow.job == job).values(finished_at=func.now()))
