"""The table of `lenswatch eval --unseen`: generators and cameras that each fold was fitted without."""

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
        "### Generators and cameras left out",
        "AUROC on one family of generators and some camera makes, row by row, that the read-out of statistics and the "
        "one-class model of that row were fitted without. Its binary head is the statistics alone; its "
        "encoder is the release's, which learned from photographs of all makes.",
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
