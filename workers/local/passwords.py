"""Random passwords of the embedded servers, and of the account that `lenswatch up` makes."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from workers.local.files import write_private


class Passwords:
    """Drawn once per data folder and kept in a file that only its owner may read."""

    def __init__(self, folder: Path) -> None:
        self._file = folder.resolve() / "passwords.json"

    def get(self, name: str) -> str:
        """The password called `name` (32 hexadecimal digits); drawn and stored when there is none yet."""
        known: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        if name not in known:
            known[name] = secrets.token_hex(16)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_private(self._file, json.dumps(known, indent=1))
        return known[name]
