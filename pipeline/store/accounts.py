"""People and the browsers they are signed in with. What is changed about a person goes to the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta

from sqlalchemy import Interval, case, cast, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import Conflict, NotFound
from pipeline.people import Account, Role, account_name
from pipeline.store.audit import audit
from pipeline.store.chosen import once
from pipeline.store.models_people import AccountRow, SessionRow

FREE_FAILURES = 5
"""In a row; each further one blocks the account, for 2, 4, 8, ... seconds."""
LONGEST_BLOCK = 900
"""s"""
EXPIRED_AT_ONCE = 100
"""Sessions that are over and go at each sign-in, so that no job has to remove them."""


class Accounts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, account_id: int) -> Account:
        """Raises NotFound."""
        return to_account(self._row(account_id))

    def named(self, name: str) -> Account:
        """Raises NotFound."""
        row = self._session.scalars(select(AccountRow).where(AccountRow.name == _name(name))).one_or_none()
        if row is None:
            raise NotFound(f"nobody is named {name}")
        return to_account(row)

    def all(self, *, after: str = "", limit: int = 100) -> list[Account]:
        """By name, disabled ones too. `after`: last name of the page before."""
        rows = select(AccountRow).where(AccountRow.name > after).order_by(AccountRow.name).limit(limit)
        return [to_account(row) for row in self._session.scalars(rows)]

    def add(
        self,
        name: str,
        role: Role,
        *,
        created_by: str,
        password_hash: str | None = None,
        oidc_subject: str | None = None,
    ) -> Account:
        """Raises Conflict where the name is taken, or none."""
        row = self._session.scalars(
            insert(AccountRow)
            .values(
                name=_name(name),
                role=role,
                created_by=created_by,
                password_hash=password_hash,
                oidc_subject=oidc_subject,
            )
            .on_conflict_do_nothing()
            .returning(AccountRow)
        ).one_or_none()
        if row is None:
            raise Conflict(f"there is an account named {name} already")
        self._audit(created_by, "account.added", row, role=role.value)
        return to_account(row)

    def set_role(self, account_id: int, role: Role, *, by: str) -> None:
        """Holds from her next request on. Raises NotFound; Conflict for the last admin, or whose provider says it."""
        admins = self._lock_admins()
        row = self._row(account_id, lock=True)
        if row.oidc_subject is not None:
            raise Conflict(f"the role of {row.name} comes from the groups that her OpenID provider names")
        if role is not Role.ADMIN:
            _require_other_admin(row, admins)
        self._set_role(row, role, by)

    def disable(self, account_id: int, *, by: str) -> None:
        """Signs her out. Raises NotFound; Conflict for the last admin."""
        admins = self._lock_admins()
        row = self._row(account_id, lock=True)
        _require_other_admin(row, admins)
        row.disabled_at = func.now()
        self._close_sessions(row.id)
        self._audit(by, "account.disabled", row)

    def enable(self, account_id: int, *, by: str) -> None:
        """Raises NotFound."""
        row = self._row(account_id, lock=True)
        row.disabled_at = None
        self._audit(by, "account.enabled", row)

    def set_password(self, account_id: int, password_hash: str, *, by: str) -> None:
        """Ends a block, and signs her out everywhere. Raises NotFound; Conflict for who signs in elsewhere."""
        row = self._row(account_id, lock=True)
        if row.oidc_subject is not None:
            raise Conflict(f"{row.name} signs in at her OpenID provider, without a password of ours")
        row.password_hash, row.failed_sign_ins, row.blocked_until = password_hash, 0, None
        self._close_sessions(row.id)
        self._audit(by, "account.password_changed", row)

    def renew_hash(self, account_id: int, password_hash: str) -> None:
        """Of the same password, with other parameters."""
        self._row(account_id, lock=True).password_hash = password_hash

    def begin_sign_in(self, name: str) -> tuple[Account, str] | None:
        """Implements `sign_in.AccountStore`."""
        try:
            wanted = account_name(name)
        except ValueError:
            return None
        # Waiting for the disk would tell by the clock that there was something to write down: that the name exists.
        self._session.execute(select(func.set_config("synchronous_commit", "off", True)))
        failures = AccountRow.failed_sign_ins + 1
        seconds = func.least(LONGEST_BLOCK, func.power(2, func.least(failures - FREE_FAILURES, 10)))
        row = self._session.scalars(
            update(AccountRow)
            .where(
                AccountRow.name == wanted,
                AccountRow.password_hash.is_not(None),
                AccountRow.disabled_at.is_(None),
                or_(AccountRow.blocked_until.is_(None), AccountRow.blocked_until <= func.now()),
            )
            .values(
                failed_sign_ins=failures,
                blocked_until=case((failures > FREE_FAILURES, func.now() + seconds * cast("1 second", Interval))),
            )
            .returning(AccountRow)
        ).one_or_none()
        return (to_account(row), row.password_hash) if row and row.password_hash else None

    def admit(self, subject: str, role: Role, *, names: Sequence[str], by: str) -> Account | None:
        """Who an OpenID provider says she is, with the role that follows from her groups; None if she is disabled.

        Args:
            subject: `<issuer> <sub>`.
            names: what a new account may be called; the first that is free, or the first with a suffix.
        """
        with_subject = select(AccountRow).where(AccountRow.oidc_subject == subject).with_for_update()
        row = self._session.scalars(with_subject).one_or_none()
        if row is None:
            return self._add_first_free(subject, role, names, by)
        if row.disabled_at is not None:
            return None
        if row.role != role:
            self._set_role(row, role, by)
        return to_account(row)

    def open_session(self, account_id: int, token_hash: str, *, lifetime: timedelta) -> None:
        self._remove_expired_sessions()
        self._session.add(SessionRow(token_hash=token_hash, account_id=account_id, expires_at=func.now() + lifetime))
        self._session.flush()
        self._session.execute(
            update(AccountRow)
            .where(AccountRow.id == account_id)
            .values(signed_in_at=func.now(), failed_sign_ins=0, blocked_until=None)
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

    def sign_out_everywhere(self, account_id: int, *, by: str) -> None:
        """Raises NotFound."""
        row = self._row(account_id)
        self._close_sessions(account_id)
        self._audit(by, "account.signed_out", row)

    def _row(self, account_id: int, *, lock: bool = False) -> AccountRow:
        row = self._session.get(AccountRow, account_id, with_for_update=lock or None)
        if row is None:
            raise NotFound(f"account {account_id}")
        return row

    def _set_role(self, row: AccountRow, role: Role, by: str) -> None:
        before, row.role = row.role, role
        self._audit(by, "account.role_changed", row, before=before, after=role.value)

    def _lock_admins(self) -> set[int]:
        """All of them, always in this order, so that the last two cannot remove each other at the same time."""
        admins = select(AccountRow.id).where(AccountRow.role == Role.ADMIN, AccountRow.disabled_at.is_(None))
        return set(self._session.scalars(admins.order_by(AccountRow.id).with_for_update()))

    def _add_first_free(self, subject: str, role: Role, names: Sequence[str], by: str) -> Account:
        for name in _candidates(names, subject):
            try:
                return self.add(name, role, created_by=by, oidc_subject=subject)
            except Conflict:
                continue
        raise Conflict("she signs in for the first time in two places at once: try again")

    def _remove_expired_sessions(self) -> None:
        over = (
            select(SessionRow.token_hash)
            .where(SessionRow.expires_at < func.now())
            .order_by(SessionRow.expires_at)
            .limit(EXPIRED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        self._session.execute(delete(SessionRow).where(SessionRow.token_hash.in_(once(over))))

    def _close_sessions(self, account_id: int) -> None:
        self._session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))

    def _audit(self, actor: str, action: str, row: AccountRow, **detail: str) -> None:
        audit(self._session, actor, action, f"account:{row.id}", name=row.name, **detail)


def _require_other_admin(row: AccountRow, admins: set[int]) -> None:
    if admins == {row.id}:
        raise Conflict(f"{row.name} is the last admin: make another one first")


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
        blocked_until=row.blocked_until,
    )


def _candidates(names: Sequence[str], subject: str) -> Iterator[str]:
    for name in names:
        try:
            yield account_name(name)
        except ValueError:
            continue
    number = hashlib.sha256(subject.encode()).hexdigest()[:12]
    yield f"{names[0][:80]}-{number}"
    yield f"person-{number}"


def _name(said: str) -> str:
    try:
        return account_name(said)
    except ValueError as error:
        raise Conflict(str(error)) from error
