"""Signing in with a password."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

from pipeline.passwords import hash_password, is_outdated, is_right
from pipeline.people import Account

log = structlog.get_logger(__name__)


class AccountStore(Protocol):
    """Runs inside the caller's transaction; `pipeline.store.Accounts`."""

    def begin_sign_in(self, name: str) -> tuple[Account, str] | None:
        """Count an attempt as failed until a session is opened; account and hash of its password.

        None where no password would be right: nobody has this name, or she is disabled, blocked, or signs in elsewhere.
        """
        ...

    def renew_hash(self, account_id: int, password_hash: str) -> None: ...


class AccountTransaction(Protocol):
    @property
    def accounts(self) -> AccountStore: ...


def sign_in(
    transaction: Callable[[], AbstractContextManager[AccountTransaction]], name: str, password: str
) -> Account | None:
    """Whose password this is; the caller opens the session. None, always after the same time, where it is nobody's.

    An attempt counts before its password is looked at, so that many at once are no way around the block.

    Raises:
        SignInBusy: too many at a time.
    """
    with transaction() as opened:
        begun = opened.accounts.begin_sign_in(name)
    account, known = begun or (None, None)
    if not is_right(password, known):
        log.warning("sign_in_refused", account_id=account.id if account else None)
        return None
    if account and known and is_outdated(known):
        with transaction() as opened:
            opened.accounts.renew_hash(account.id, hash_password(password))
    return account
