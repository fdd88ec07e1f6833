"""What a release is made of, and how it was made: out of its JSON cards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.release import Release
from workers.model_card.markdown import code, flatten, said, table

PARTS = {
    "encoder": "SDAIE network with 14 EXIF heads, learned from photographs alone",
    "binary": "the same network with a real/AI read-out",
    "read_out": "a linear read-out of residual statistics, and how it joins the binary network",
    "one_class": "Gaussian mixtures on embeddings and self-descriptions, and the scores of the calibration photographs",
}


def cards(release: Release) -> dict[str, dict[str, Any]]:
    """Part -> its JSON card, for those that the release has."""
    files = {part: release.folder / f"{part}.json" for part in PARTS}
    return {part: json.loads(file.read_text()) for part, file in files.items() if file.is_file()}


def what_it_is(release: Release) -> list[str]:
    rows = []
    for part, card in cards(release).items():
        training = card.get("training", {})
        passes = training.get("patch_passes")
        if passes is not None:
            passes += training.get("patch_passes_before", 0)
        rows.append((code(f"{part}.*"), PARTS[part], _learned_from(card), said(passes), said(training.get("minutes"))))
    parts = table(("part", "what", "learned from", "patch passes in all", "minutes of the last run"), rows)
    return ["## What it is", parts]


def _learned_from(card: Mapping[str, Any]) -> str:
    """The data and how much of it, wherever the part's card says so."""
    training = card.get("training", card)
    facts = {
        name: training[name]
        for name in ("data", "photographs", "fit_photos", "calibration_photos", "calibration_groups")
        if name in training
    }
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in flatten(facts)) or "-"


def making(release: Release) -> list[str]:
    sections = ["## How it was made"]
    for part, card in cards(release).items():
        told = {name: value for name, value in card.items() if name != "tags"}
        if part == "encoder" and "training" in told:
            told["training"] = {name: value for name, value in told["training"].items() if name != "held_out"}
        sections += [f"### {code(f'{part}.json')}", table(("setting", "value"), flatten(told))]
    return [*sections, *exif_heads(release)]


def exif_heads(release: Release) -> list[str]:
    """Class maps, and what the heads read out of pixels that they were not trained on."""
    held_out = tag_figures(release)
    rows = []
    for tag in release.encoder_json["tags"]:
        row = held_out.get(tag["name"], {})
        figures = (said(row.get(name)) for name in ("images", "accuracy", "majority"))
        rows.append((tag["name"], *figures, said(tag.get("classes", "ranked"))))
    return [
        "### What the encoder reads out of pixels",
        "On photographs held out from it. Ranked tags: share of pairs in the right order, 0.5 by chance. Tags with "
        "classes: accuracy beside that of always giving the commonest one.",
        table(("tag", "images", "accuracy", "majority", "classes"), rows),
    ]


def tag_figures(release: Release) -> Mapping[str, Mapping[str, float]]:
    """Tag -> accuracy and majority on held-out photographs, where training wrote them down."""
    found = release.encoder_json.get("training", {}).get("held_out", {})
    return {tag: row for tag, row in found.items() if isinstance(row, Mapping) and "accuracy" in row}
