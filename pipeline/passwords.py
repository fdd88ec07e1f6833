"""Passwords of local accounts, kept as argon2id hashes with the parameters that argon2-cffi recommends."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pipeline.errors import RetryableError

SHORTEST, LONGEST = 12, 1000
"""Characters. Length is what makes guessing dear; no other rule is asked for (NIST SP 800-63B)."""

_AT_A_TIME = BoundedSemaphore(4)
_hasher = PasswordHasher()


class WeakPassword(ValueError):
    """Shorter or longer than allowed."""


class SignInBusy(RetryableError):
    """More sign-ins at a time than this process has memory for; each takes 64 MiB."""


def new_password() -> str:
    """96 random bits, as 16 characters."""
    return secrets.token_urlsafe(12)


def hash_password(password: str) -> str:
    """Raises WeakPassword, SignInBusy. Takes some 50 ms of all cores."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(f"a password has {SHORTEST} to {LONGEST} characters")
    with _turn():
        return _hasher.hash(password)


def is_right(password: str, known: str | None) -> bool:
    """Whether `known` is its hash. Where there is none the answer is no, after the same time. Raises SignInBusy."""
    with _turn():
        try:
            return _hasher.verify(known or _nobodys(), password[:LONGEST]) and known is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(known: str) -> bool:
    """It was made with other parameters than are recommended today."""
    return _hasher.check_needs_rehash(known)


@cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_urlsafe(32))


@contextmanager
def _turn() -> Iterator[None]:
    if not _AT_A_TIME.acquire(blocking=False):  # waiting would hold a thread that pages need
        raise SignInBusy("too many sign-ins at a time")
    try:
        yield
    finally:
        _AT_A_TIME.release()
