"""What `lenswatch eval` measured, as sections of a model card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.evaluation import HEADS, STANDING
from pipeline.evaluation.flips import CHANGES
from pipeline.evaluation.labels import LABELS
from workers.evaluate import MEASURES, cell, conditions_in
from workers.model_card.markdown import code, percent, table

LABEL_NAMES = {"real": "photographs", "ai": "AI images"}
HEAD_NAMES = {"one_class": "one-class (no AI image seen)", "binary": "binary", "fused": "fused"}


def how_good(figures: Mapping[str, Any], plots: str | None) -> list[str]:
    images = figures["as_found"]["images"]
    return [
        "## How good it is",
        f"{images['real']} photographs and {images['ai']} AI images, with 95 % intervals (bootstrap of "
        "whole sources where ten are known, else of images; Clopper-Pearson "
        "at the promise). `reencoded`: every image cropped to 512 px and saved as JPEG 90 4:2:0, which takes away most "
        'of what file format and size give away. "At promise": by the threshold that promises a false-positive rate of '
        f"{percent(figures['promise'])}.",
        _head_table(figures, STANDING),
        code(figures["command"]),
        *_pictures(plots, {"roc": "ROC curves", "histograms": "Histograms of scores"}),
    ]


def _head_table(figures: Mapping[str, Any], conditions: Iterable[str]) -> str:
    rows = [
        (
            code(condition),
            HEAD_NAMES[head],
            *(cell(figures[condition].get(head, {}), name) for name in MEASURES.values()),
        )
        for condition in conditions
        for head in HEADS
    ]
    return table(("condition", "score", *MEASURES), rows)


def groups(figures: Mapping[str, Any], plots: str | None) -> list[str]:
    """Per generator and per make, re-encoded."""
    return [
        "### Per generator",
        "Each generator's images against all photographs, re-encoded. A row of one or two images says nothing about "
        "its generator.",
        _group_table(
            figures["reencoded"]["by_generator"], "generator", "tpr_at_promise", "called `not_camera` (fused)"
        ),
        *_pictures(plots, {"generators": "Figures per generator"}),
        "### Per camera make",
        "Each make's photographs against all AI images, re-encoded.",
        _group_table(figures["reencoded"]["by_make"], "make", "fpr_at_promise", "wrongly called `not_camera` (fused)"),
        *_pictures(plots, {"makes": "Figures per camera make"}),
    ]


def _group_table(rows: Mapping[str, Any], by: str, at_promise: str, called: str) -> str:
    return table(
        (by, "images", *(f"AUROC {HEAD_NAMES[head]}" for head in HEADS), called),
        [
            (
                name,
                row["images"],
                *(cell(row.get(head, {}), "auroc") for head in HEADS),
                cell(row.get("fused", {}), at_promise),
            )
            for name, row in rows.items()
        ],
    )


def degraded(figures: Mapping[str, Any], plots: str | None) -> list[str]:
    """Figures under degradations, and what became of verdicts."""
    further = [condition for condition in conditions_in(figures) if condition not in STANDING]
    rows = [
        (
            code(condition),
            LABEL_NAMES[label],
            *(labels[label][name] for name in ("images", *CHANGES)),
            cell(labels[label], "flipped_share"),
        )
        for condition, labels in figures["flips"].items()
        for label in LABELS
    ]
    return [
        "## Degraded images",
        *([_head_table(figures, further)] if further else ["No degradation was measured."]),
        "### What became of verdicts",
        "The verdict under each condition against the one on the re-encoded image, which the degradations start from. "
        'From `camera` to `not_camera`, or back, is "flipped", and should not happen; to or from `unsure` may.',
        table(
            ("condition", "images of", "images", *(name.replace("_", " ") for name in CHANGES), "flipped share"), rows
        ),
        *_pictures(plots, {"flips": "What became of verdicts"}),
    ]


def worst_errors(figures: Mapping[str, Any]) -> list[str]:
    """Named, not shown: the images are other people's."""
    sections = ["## Worst errors", "By the fused score, re-encoded. The images are other people's and are not shown."]
    for label, said in (
        ("real", "Photographs that look most like AI images"),
        ("ai", "AI images that look most like photographs"),
    ):
        rows = [
            (
                code(error["file"]),
                code(error["sha256"][:16]),
                error["group"],
                code(error["verdict"]),
                f"{error['p_value']:.3f}",
                f"{error['ai_probability']:.3f}",
                f"{error['log_likelihood']:.1f}",
            )
            for error in figures["worst_errors"][label]
        ]
        group = "make" if label == "real" else "generator"
        headers = ("file", "SHA-256", group, "verdict", "p-value", "AI probability", "log-likelihood")
        sections += [f"### {said}", table(headers, rows)]
    return sections


def _pictures(plots: str | None, named: Mapping[str, str]) -> list[str]:
    return [f"![{title}]({plots}/{name}.svg)" for name, title in named.items()] if plots else []
