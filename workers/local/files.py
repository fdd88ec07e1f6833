"""Files of the data folder: who may read them."""

from __future__ import annotations

from pathlib import Path

OWNER_READ_EXECUTE = 0o500
OTHERS_TRAVERSE = 0o001


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, readable by its owner alone from the first byte."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def open_to_others(*programs: Path, way_to: Path) -> None:
    """Let a less privileged user read and run `programs`, and pass through the folders above them and above `way_to`.

    Passing through (`o+x`) shows nothing: it does not let anybody list a folder.
    """
    for folder in programs:
        for path in (folder, *folder.rglob("*")):
            mode = path.stat().st_mode
            _set_mode(path, mode, mode | (mode & OWNER_READ_EXECUTE) >> 6)
    for path in (*programs, way_to):
        for above in (path, *path.parents):
            mode = above.stat().st_mode
            _set_mode(above, mode, mode | OTHERS_TRAVERSE)


def _set_mode(path: Path, now: int, wanted: int) -> None:
    if wanted != now:
        path.chmod(wanted)
