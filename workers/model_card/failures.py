"""Where a release fails, read off its own figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.evaluation import HEADS
from pipeline.evaluation.labels import LABELS
from pipeline.release import Release
from workers.evaluate import cell, conditions_in
from workers.model_card.figures import LABEL_NAMES
from workers.model_card.making import tag_figures
from workers.model_card.markdown import code, escaped, percent

NAMED = 5
"""Groups that a list names."""

ENOUGH = 5
"""Images from which a group can be called weak: with fewer, chance picks it."""


def failures(release: Release, figures: Mapping[str, Any], unseen: Mapping[str, Any] | None) -> list[str]:
    found = [
        *_promise(figures),
        *_weak_groups(figures["reencoded"]["by_generator"], "Generators"),
        *_weak_groups(figures["reencoded"]["by_make"], "Camera makes"),
        *_accused_makes(figures["reencoded"]["by_make"]),
        *_weak_conditions(figures),
        *_flips(figures),
        *_unread_tags(release),
        *_unseen(unseen),
    ]
    return ["## Where it fails", "\n".join(f"- {line}" for line in found)]


def _promise(figures: Mapping[str, Any]) -> Iterator[str]:
    promise = figures["promise"]
    for condition in conditions_in(figures):
        row = figures[condition].get("fused", {})
        low, high = row.get("fpr_at_promise_interval", (0.0, 1.0))
        broken = "broken: more" if low > promise else "over-kept: fewer" if high < promise else None
        if broken:
            rate = cell(row, "fpr_at_promise")
            yield (
                f"{code(condition)}: the promise of {percent(promise)} is {broken} photographs than promised are "
                f"called `not_camera`, {rate}."
            )


def _weak_groups(groups: Mapping[str, Any], title: str) -> Iterator[str]:
    known = {name: row["fused"] for name, row in groups.items() if "fused" in row and row["images"] >= ENOUGH}
    weakest = sorted(known, key=lambda name: known[name]["auroc"])[:NAMED]
    if weakest:
        said = "; ".join(f"{escaped(name)} {cell(known[name], 'auroc')}" for name in weakest)
        yield f"{title} told apart least (AUROC, fused, re-encoded, from {ENOUGH} images up): {said}."


def _accused_makes(makes: Mapping[str, Any]) -> Iterator[str]:
    accused = {name: row["fused"] for name, row in makes.items() if row.get("fused", {}).get("fpr_at_promise", 0) > 0}
    if accused:
        said = "; ".join(f"{escaped(name)} {cell(row, 'fpr_at_promise')}" for name, row in accused.items())
        yield f"Camera makes with photographs called `not_camera` (share, re-encoded): {said}."


def _weak_conditions(figures: Mapping[str, Any]) -> Iterator[str]:
    for head in HEADS:
        known = {name: figures[name][head] for name in conditions_in(figures) if head in figures[name]}
        weakest = min(known, key=lambda name: known[name]["auroc"])
        yield f"{head.replace('_', '-')} score: lowest AUROC under {code(weakest)}, {cell(known[weakest], 'auroc')}."


def _flips(figures: Mapping[str, Any]) -> Iterator[str]:
    flips = [
        f"{labels[label]['flipped']} of {labels[label]['images']} {LABEL_NAMES[label]} under {code(condition)}"
        for condition, labels in figures["flips"].items()
        for label in LABELS
        if labels[label]["flipped"]
    ]
    if flips:
        yield f"Verdicts that flip outright against the re-encoded image: {'; '.join(flips)}."


def _unread_tags(release: Release) -> Iterator[str]:
    unread = [tag for tag, row in tag_figures(release).items() if row["accuracy"] <= row["majority"]]
    if unread:
        yield f"EXIF tags that the encoder reads no better than the commonest answer: {', '.join(unread)}."


def _unseen(unseen: Mapping[str, Any] | None) -> Iterator[str]:
    if unseen is None:
        yield "Generators and cameras that resemble none of the training ones were not measured. Expect worse."
    else:
        worst = min(unseen["folds"], key=lambda fold: fold["reencoded"]["fused"]["auroc"])
        left_out = escaped(f"{worst['family']} with {', '.join(worst['makes'])}")
        area = f"{worst['reencoded']['fused']['auroc']:.3f}, fused, re-encoded"
        yield f"Of generators and cameras left out, {left_out} are told apart least (AUROC {area})."
