"""The way to Postgres: engine, naming convention, and one transaction at a time.

`Stores.transaction()` in `__init__.py` is the only place that commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NoReturn

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Connection,
    DateTime,
    Engine,
    ExceptionContext,
    Identity,
    MetaData,
    Text,
    create_engine,
    event,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSONB
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from pipeline.errors import StoreUnavailable, UnstorableValue
from pipeline.settings import PostgresSettings

IDLE_IN_TRANSACTION_TIMEOUT = 300
"""s; longer than a task's time limit. A worker that was frozen must not hold its row locks for ever."""

Id = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
Json = dict[str, Any]


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy's own idiom
        str: Text,
        float: DOUBLE_PRECISION,
        datetime: DateTime(timezone=True),
        Json: JSONB,
        list[Json]: JSONB,
        list[str]: ARRAY(Text),
        list[float]: ARRAY(DOUBLE_PRECISION),
    }


def one_of(column: str, *values: str | type[StrEnum]) -> CheckConstraint:
    """A CHECK instead of a PG enum: a value can be added, and taken away, within a transaction."""
    names = [name for value in values for name in ([value] if isinstance(value, str) else list(value))]
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(name)) for name in names)})", name=column)


def create_store_engine(settings: PostgresSettings) -> Engine:
    """An engine whose every wait has an end. Nothing connects before the first statement."""
    milliseconds = round(settings.statement_timeout * 1000)
    engine = create_engine(
        settings.dsn.get_secret_value(),
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.connect_timeout,
        pool_pre_ping=True,  # a connection that died while idle is replaced, not handed out
        connect_args={
            "connect_timeout": max(2, round(settings.connect_timeout)),  # libpq's smallest is 2 s
            "application_name": "lenswatch",
            "keepalives_idle": 30,
            "options": f"-c timezone=UTC -c statement_timeout={milliseconds}"
            f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT * 1000}",
        },
    )
    event.listen(engine, "handle_error", _translate)
    return engine


def _translate(context: ExceptionContext) -> None:
    """Vendor errors end here: what may pass becomes `StoreUnavailable`, a bug of ours stays what it is."""
    if context.is_pre_ping:  # a connection that died while idle: the pool replaces it, and nobody need know
        return
    if context.is_disconnect or isinstance(context.sqlalchemy_exception, OperationalError | InterfaceError):
        _unavailable(context.original_exception)
    if isinstance(context.sqlalchemy_exception, DataError):  # the driver's message may quote the value
        raise UnstorableValue("a number is out of range, or a text has a zero byte") from context.original_exception


def _unavailable(error: BaseException) -> NoReturn:
    # The driver's first line names host and cause; later lines may quote the statement's values.
    summary = str(error).partition("\n")[0]
    raise StoreUnavailable(f"{type(error).__name__}: {summary}") from error


@contextmanager
def session_scope(bind: Engine | Connection) -> Iterator[Session]:
    """One session in one transaction: committed at the end, rolled back on any exception.

    On a `Connection` that is inside a transaction already (a test's), a savepoint takes the transaction's place.

    Raises:
        StoreUnavailable: Postgres is away, too slow, ended the connection, or has none free.
    """
    session = Session(bind, expire_on_commit=False, join_transaction_mode="create_savepoint")
    try:
        with session, session.begin():
            yield session
    except PoolTimeout as error:
        _unavailable(error)
