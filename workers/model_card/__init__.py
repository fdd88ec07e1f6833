"""A release's model card: what its JSON cards say of its making, and what `lenswatch eval` measured, as Markdown.

Nothing in it is written by hand but `NOTES.md` of the release folder, which is put in as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.release import Release
from workers.model_card.failures import failures
from workers.model_card.figures import degraded, groups, how_good, worst_errors
from workers.model_card.making import making, what_it_is
from workers.model_card.unseen import unseen_section

NOTES = "NOTES.md"


def render(
    release: Release, figures: Mapping[str, Any], *, unseen: Mapping[str, Any] | None = None, plots: str | None = None
) -> str:
    """The card. `figures`: the JSON of `lenswatch eval`; `plots`: where its plots lie, as a link from the card."""
    notes = release.folder / NOTES
    sections = [
        f"# {release.name}",
        "A release of the SDAIE detector (Zhong et al., TPAMI 2026). Every output is a signal, never proof.",
        "Written by `lenswatch models card` from the files of the release and the figures of `lenswatch eval`.",
        *([notes.read_text().strip()] if notes.is_file() else []),
        *what_it_is(release),
        *how_good(figures, plots),
        *groups(figures, plots),
        *(unseen_section(unseen) if unseen else []),
        *degraded(figures, plots),
        *failures(release, figures, unseen),
        *worst_errors(figures),
        *making(release),
    ]
    return "\n\n".join(sections) + "\n"
