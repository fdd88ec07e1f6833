"""The figures of `lenswatch eval`, drawn: SVG on white, colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation import HEADS, STANDING
from pipeline.evaluation.flips import CHANGES
from pipeline.evaluation.labels import LABELS

TITLES = {
    "as_found": "as found",
    "reencoded": "re-encoded",
    "one_class": "one-class (no AI image seen)",
    "binary": "binary",
    "fused": "fused",
    "real": "photographs",
    "ai": "AI images",
}

# Okabe & Ito's palette
HEAD_COLOURS = {"one_class": "#0072B2", "binary": "#E69F00", "fused": "#009E73"}
LABEL_COLOURS = {"real": "#0072B2", "ai": "#D55E00"}
CHANGE_COLOURS = {"same": "#009E73", "unsure": "#F0E442", "flipped": "#D55E00", "not_applicable": "#BBBBBB"}

STYLE: Any = {  # Any: matplotlib types its settings by a literal of all their names
    "svg.fonttype": "none",  # letters stay letters: small files
    "svg.hashsalt": "lenswatch",  # same figures, same bytes
    "text.parse_math": False,  # a dollar in somebody's manifest is no formula
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

NAME_LENGTH = 42
"""Letters of a generator's name that an axis has room for."""


def draw(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Every plot of the JSON that `lenswatch eval` writes, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        drawn = {
            "roc.svg": _roc(figures["suspicions"]),
            "histograms.svg": _histograms(figures["suspicions"]),
            "generators.svg": _groups(figures["reencoded"]["by_generator"], "tpr_at_promise", "called not_camera"),
            "makes.svg": _groups(figures["reencoded"]["by_make"], "fpr_at_promise", "wrongly called not_camera"),
            "flips.svg": _flips(figures["flips"]),
        }
        for name, figure in drawn.items():
            figure.savefig(folder / name, format="svg", facecolor="white", metadata={"Date": None})
    return [folder / name for name in drawn]


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _roc(suspicions: Mapping[str, Any]) -> Figure:
    """True-positive rate against false-positive rate, the three scores under both standing conditions."""
    figure = _figure(8, 4.2)
    [panels] = figure.subplots(1, len(STANDING), sharey=True, squeeze=False)
    for axes, condition in zip(panels, STANDING, strict=True):
        real, ai = (suspicions[condition][label] for label in LABELS)
        for head in HEADS:
            axes.plot(*roc(real[head], ai[head]), color=HEAD_COLOURS[head], label=TITLES[head], linewidth=1.5)
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle="--")
        axes.axvline(0.02, color="#999999", linewidth=0.8, linestyle=":")
        axes.annotate("2 % FPR", (0.03, 0.02), color="#666666")
        axes.set(title=TITLES[condition], xlabel="false-positive rate", xlim=(0, 1), ylim=(0, 1.01))
    panels[0].set_ylabel("true-positive rate")
    panels[-1].legend(loc="lower right", frameon=False)
    return figure


def roc(real: Sequence[float], ai: Sequence[float]) -> tuple[list[float], list[float]]:
    """The curve's corners: share of real and of AI images at or above each threshold, from (0, 0) to (1, 1)."""
    thresholds = np.unique([*real, *ai])[::-1]
    rates = (
        np.searchsorted(np.sort(scores), thresholds, side="left") / max(len(scores), 1)
        for scores in (np.asarray(real), np.asarray(ai))
    )
    false, true = ([0.0, *(1 - rate).tolist()] for rate in rates)
    return false, true


def _histograms(suspicions: Mapping[str, Any]) -> Figure:
    """How the scores of both labels lie, head by head."""
    figure = _figure(9, 4.6)
    panels = figure.subplots(len(STANDING), len(HEADS), squeeze=False)
    for row, condition in zip(panels, STANDING, strict=True):
        for axes, head in zip(row, HEADS, strict=True):
            samples = {label: np.asarray(suspicions[condition][label][head]) for label in LABELS}
            edges = _edges(np.concatenate(list(samples.values())))
            for label, values in samples.items():
                # Outliers are counted in the outermost bars, so that they do not squeeze all others into one
                axes.hist(
                    np.clip(values, edges[0], edges[-1]),
                    bins=edges.tolist(),
                    color=LABEL_COLOURS[label],
                    alpha=0.55,
                    histtype="stepfilled",  # one path, not one for each bar
                    label=TITLES[label],
                )
            axes.set_title(f"{head.replace('_', '-')}, {TITLES[condition]}")
        row[0].set_ylabel("images")
    figure.supxlabel("suspicion (higher = more like an AI image)", fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=len(LABELS), frameon=False)
    return figure


def _edges(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = np.percentile(values, (1, 99)) if len(values) else (0.0, 1.0)
    return np.linspace(low, high if high > low else low + 1, 31)


def _groups(groups: Mapping[str, Any], at_promise: str, called: str) -> Figure:
    """AUROC of every group by each head, and what the verdict's threshold does with it, re-encoded."""
    names = [f"{_short(name)} ({row['images']})" for name, row in groups.items()]
    figure = _figure(9, 1.2 + 0.42 * len(names))
    [[areas, rates]] = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2), squeeze=False)
    positions = np.arange(len(names))
    for shift, head in zip((-0.27, 0.0, 0.27), HEADS, strict=True):
        _bars(
            areas, positions + shift, [row.get(head, {}) for row in groups.values()], "auroc", HEAD_COLOURS[head], head
        )
    fused = [row.get("fused", {}) for row in groups.values()]
    _bars(rates, positions, fused, at_promise, HEAD_COLOURS["fused"], "fused")
    areas.axvline(0.5, color="#999999", linewidth=0.8, linestyle="--")
    areas.set(yticks=positions, yticklabels=names, xlim=(0, 1), xlabel="AUROC, re-encoded")
    areas.invert_yaxis()
    rates.set(xlim=(0, 1), xlabel=f"share {called}, fused")
    figure.legend(*areas.get_legend_handles_labels(), loc="outside upper right", ncols=len(HEADS), frameon=False)
    return figure


def _bars(
    axes: Axes, positions: np.ndarray[Any, Any], rows: Sequence[Mapping[str, Any]], name: str, colour: str, head: str
) -> None:
    """Bars with their 95 % intervals; a group without the figure has none."""
    known = [(position, row) for position, row in zip(positions, rows, strict=True) if name in row]
    values = [row[name] for _, row in known]
    bounds = [row[f"{name}_interval"] for _, row in known]
    # A bootstrap interval can miss its figure by a rounding; matplotlib refuses negative lengths.
    below = [max(0.0, value - low) for value, (low, _) in zip(values, bounds, strict=True)]
    above = [max(0.0, high - value) for value, (_, high) in zip(values, bounds, strict=True)]
    axes.barh(
        [position for position, _ in known],
        values,
        height=0.25 if name == "auroc" else 0.5,
        xerr=[below, above],
        color=colour,
        error_kw={"linewidth": 0.7, "ecolor": "#333333"},
        label=TITLES[head],
    )


def _flips(flips: Mapping[str, Any]) -> Figure:
    """What became of the verdicts, in shares of the images, for every condition and label."""
    rows = [(f"{condition}, {TITLES[label]}", flips[condition][label]) for condition in flips for label in LABELS]
    figure = _figure(8, 1.0 + 0.3 * len(rows))
    [[axes]] = figure.subplots(1, 1, squeeze=False)
    left = np.zeros(len(rows))
    for change in CHANGES:
        shares = np.array([row[change] / max(row["images"], 1) for _, row in rows])
        label = {"unsure": "to or from unsure", "not_applicable": "not applicable"}.get(change, change)
        axes.barh(np.arange(len(rows)), shares, left=left, color=CHANGE_COLOURS[change], label=label)
        left += shares
    axes.set(yticks=np.arange(len(rows)), yticklabels=[name for name, _ in rows], xlim=(0, 1))
    axes.set_xlabel("share of images, verdict against that on the re-encoded image")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=len(CHANGES), frameon=False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1].rstrip() + "…"
