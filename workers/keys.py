"""Keys that open the HTTP doors. A deployment's settings hold their hashes, so reading the settings opens nothing.

One SHA-256 is enough: slow, salted hashes (argon2, scrypt) make *guessable* passwords dear to guess, and there is no
guessing 256 random bits. It also costs a request a microsecond instead of a tenth of a second.
"""

from __future__ import annotations

import hashlib
import secrets

from pipeline.people import KeyRole

KEY_BYTES = 32


def new_key() -> str:
    """256 random bits, as 43 characters that need no quoting in URLs and shells."""
    return secrets.token_urlsafe(KEY_BYTES)


def hash_key(key: str) -> str:
    """`sha256:<hex>`."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def key_setting(key: str, role: KeyRole) -> str:
    """What `LENSWATCH_WEB__API_KEYS` holds of a key: `<role>:sha256:<hex>`."""
    return f"{role.value}:{hash_key(key)}"


def read_setting(setting: str) -> tuple[KeyRole, str]:
    """Role and hash of a key. One without a role is a sender's."""
    role, _, digest = setting.rpartition("sha256:")
    return KeyRole(role[:-1]) if role else KeyRole.SENDER, f"sha256:{digest}"
