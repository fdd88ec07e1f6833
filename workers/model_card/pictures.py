"""Thumbnails of the worst errors, for whoever has the images. They are other people's: never commit them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.decode import decode
from pipeline.evaluation.labels import LABELS, Label
from pipeline.settings import LimitSettings

SIDE = 256
"""Longest side of a thumbnail, px."""


def draw_pictures(figures: Mapping[str, Any], folders: Mapping[Label, Path], out: Path, limits: LimitSettings) -> int:
    """Draw `real-01-<sha>.png` and so on into `out`; the number drawn. Missing or changed files are left out."""
    out.mkdir(parents=True, exist_ok=True)
    (out / ".gitignore").write_text("*\n")
    drawn = 0
    for label in LABELS:
        for rank, error in enumerate(figures["worst_errors"][label], 1):
            file = folders[label] / error["file"]
            content = file.read_bytes() if file.is_file() else b""
            if hashlib.sha256(content).hexdigest() != error["sha256"]:
                continue
            picture = Image.fromarray(decode(content, limits).pixels)
            picture.thumbnail((SIDE, SIDE))
            picture.save(out / f"{label}-{rank:02}-{error['sha256'][:8]}.png")
            drawn += 1
    return drawn
