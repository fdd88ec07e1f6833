"""The table of generators and cameras that each fold's detector has never seen (`lenswatch eval --unseen`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.evaluation import HEADS, STANDING
from workers.evaluate import cell
from workers.model_card.markdown import code, said, table

CONDITION_NAMES = {"as_found": "as found", "reencoded": "re-encoded"}


def unseen_section(unseen: Mapping[str, Any]) -> list[str]:
    rows = [(fold["family"], said(fold["makes"]), fold["real"], fold["ai"], *_areas(fold)) for fold in unseen["folds"]]
    rows += [(f"**{name}**", "", "", "", *_areas(unseen[name])) for name in ("mean", "worst") if name in unseen]
    headers = (f"{head.replace('_', '-')}, {CONDITION_NAMES[condition]}" for condition in STANDING for head in HEADS)
    return [
        "### Generators and cameras that nothing has seen",
        "AUROC on one generator family and some camera makes that were left out of all training, row by row.",
        table(("left-out family", "left-out makes", "photographs", "AI images", *headers), rows),
        code(unseen["command"]),
    ]


def _areas(row: Mapping[str, Any]) -> list[str]:
    """AUROC of every head under both conditions, with its interval where there is one."""
    found = []
    for condition in STANDING:
        for head in HEADS:
            figures = row.get(condition, {}).get(head, {})
            plain = f"{figures['auroc']:.3f}" if "auroc" in figures else "-"
            found.append(cell(figures, "auroc") if "auroc_interval" in figures else plain)
    return found
