"""People and the browsers they are signed in with."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import Conflict
from pipeline.people import Account, Role
from pipeline.store.models_people import AccountRow, SessionRow


class Accounts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, name: str, role: Role, *, created_by: str, password_hash: str | None = None) -> Account:
        """Raises Conflict where the name is taken."""
        row = self._session.scalars(
            insert(AccountRow)
            .values(name=name.strip().casefold(), role=role, created_by=created_by, password_hash=password_hash)
            .on_conflict_do_nothing()
            .returning(AccountRow)
        ).one_or_none()
        if row is None:
            raise Conflict(f"there is an account named {name} already")
        return to_account(row)

    def open_session(self, account_id: int, token_hash: str, *, lifetime: timedelta) -> None:
        self._session.add(SessionRow(token_hash=token_hash, account_id=account_id, expires_at=func.now() + lifetime))
        self._session.flush()
        self._session.execute(
            update(AccountRow).where(AccountRow.id == account_id).values(signed_in_at=func.now(), failed_sign_ins=0)
        )

    def of_session(self, token_hash: str, *, idle: timedelta) -> Account | None:
        """Who is signed in with this token; None where the session is over or unknown, or the account is disabled."""
        row = self._session.execute(
            select(AccountRow, SessionRow.seen_at < func.now() - timedelta(minutes=1))
            .join(SessionRow, SessionRow.account_id == AccountRow.id)
            .where(
                SessionRow.token_hash == token_hash,
                SessionRow.expires_at > func.now(),
                SessionRow.seen_at > func.now() - idle,
                AccountRow.disabled_at.is_(None),
            )
        ).one_or_none()
        if row is None:
            return None
        account, is_stale = row
        if is_stale:  # once a minute: not every request should write
            self._session.execute(
                update(SessionRow).where(SessionRow.token_hash == token_hash).values(seen_at=func.now())
            )
        return to_account(account)

    def close_session(self, token_hash: str) -> None:
        self._session.execute(delete(SessionRow).where(SessionRow.token_hash == token_hash))


def to_account(row: AccountRow) -> Account:
    return Account(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        disabled_at=row.disabled_at,
        has_password=row.password_hash is not None,
        oidc_subject=row.oidc_subject,
    )
