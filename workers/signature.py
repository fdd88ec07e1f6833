"""Signatures of HTTP bodies, the same for webhooks that leave and for events that arrive.

`Lenswatch-Signature: t=<Unix time>,v1=<hex>`, where `v1` is HMAC-SHA256 of `<t>.<body>` under a shared secret. There is
one `v1` per secret: while a secret is being replaced, the sender signs with both, and either satisfies the receiver.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

HEADER = "Lenswatch-Signature"
KEY_HEADER = "Lenswatch-Key"
"""Name of the secret that a sender signed with."""

_FORM = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64}){1,8})", re.ASCII)


def sign(body: bytes, secrets: Iterable[str], timestamp: int) -> str:
    """The header's value; `timestamp` is Unix time in seconds."""
    return ",".join([f"t={timestamp}", *(f"v1={_digest(body, secret, timestamp)}" for secret in secrets)])


def is_valid(header: str, body: bytes, secret: str, *, now: float, window: float) -> bool:
    """Whether `header` signs `body` under `secret`, at most `window` seconds before or after `now`."""
    form = _FORM.fullmatch(header)
    if form is None:
        return False
    timestamp = int(form[1])
    expected = _digest(body, secret, timestamp)
    matches = [hmac.compare_digest(expected, said) for said in form[2].replace("v1=", "").split(",")[1:]]
    return any(matches) and abs(now - timestamp) <= window


def _digest(body: bytes, secret: str, timestamp: int) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
