"""Scored images -> the JSON of `lenswatch eval`: figures overall, per generator and per make, flips, worst errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.conditions import STANDING
from pipeline.evaluation.figures import Figure, Scores, as_json, fpr_at_promise, measure, share
from pipeline.evaluation.flips import count_flips
from pipeline.evaluation.labels import LABELS, Label
from pipeline.evaluation.scoring import HEADS, HeadScores, Scored

ScoredSets = Mapping[str, Mapping[Label, Sequence[Scored]]]
"""Condition -> label -> images; under every condition the same ones in the same order."""

WORST = 10
"""Errors of each label that are named."""


def report(scored: ScoredSets, promise: float) -> dict[str, Any]:
    """The whole JSON but for `command` and `model`. `promise` is the false-positive rate that `not_camera` promises."""
    return {
        **{condition: condition_figures(sets["real"], sets["ai"], promise) for condition, sets in scored.items()},
        "flips": {
            condition: {label: _flips(scored["reencoded"][label], sets[label]) for label in LABELS}
            for condition, sets in scored.items()
            if condition != "reencoded"
        },
        "worst_errors": {label: worst_errors(scored["reencoded"][label], label) for label in LABELS},
        "suspicions": {
            condition: {label: _columns(scored[condition][label]) for label in LABELS} for condition in STANDING
        },
    }


def condition_figures(real: Sequence[Scored], ai: Sequence[Scored], promise: float) -> dict[str, Any]:
    """Figures of one condition. A generator is held against all photographs, a make against all AI images."""
    sets: dict[Label, Sequence[Scored]] = {"real": real, "ai": ai}
    return {
        "images": {label: len(_scores(images)) for label, images in sets.items()},
        "verdicts": {label: dict(Counter(image.verdict.value for image in images)) for label, images in sets.items()},
        **head_figures(real, ai, promise),
        "by_generator": {
            name: {"images": len(_scores(images)), **head_figures(real, images, promise)}
            for name, images in _groups(ai).items()
        },
        "by_make": {
            name: {"images": len(_scores(images)), **head_figures(images, ai, promise)}
            for name, images in _groups(real).items()
        },
    }


def head_figures(real: Sequence[Scored], ai: Sequence[Scored], promise: float) -> dict[str, dict[str, object]]:
    """Figures of each of `HEADS`; nothing where one side has no image that could be scored."""
    real_scores, ai_scores = _scores(real), _scores(ai)
    if not (real_scores and ai_scores):
        return {}
    real_sources, ai_sources = _sources(real), _sources(ai)
    found = {}
    for column, head in enumerate(HEADS):
        suspicion = _suspicion(real_scores, column), _suspicion(ai_scores, column)
        figures = measure(*suspicion, real_sources=real_sources, ai_sources=ai_sources)
        found[head] = as_json(figures | _at_promise(real_scores, ai_scores, column, promise))
    return found


def worst_errors(images: Iterable[Scored], label: Label) -> list[dict[str, object]]:
    """The photographs that look most like AI images by the fused score, or the AI images that look least like it."""
    scored = [(image, image.scores) for image in images if image.scores]
    scored.sort(key=lambda pair: pair[1].suspicion[HEADS.index("fused")], reverse=label == "real")
    return [
        {
            "file": image.name,
            "sha256": image.sha256,
            "group": image.group,
            "verdict": image.verdict.value,
            "p_value": round(scores.p_values[HEADS.index("fused")], 4),
            "ai_probability": round(scores.suspicion[HEADS.index("binary")], 4),
            "log_likelihood": round(-scores.suspicion[HEADS.index("one_class")], 1),
        }
        for image, scores in scored[:WORST]
    ]


def _at_promise(real: Sequence[HeadScores], ai: Sequence[HeadScores], column: int, promise: float) -> dict[str, Figure]:
    found = np.array([scores.p_values[column] <= promise for scores in ai])
    return {
        "fpr_at_promise": fpr_at_promise(np.array([scores.p_values[column] for scores in real]), promise),
        "tpr_at_promise": share(int(found.sum()), len(found)),
    }


def _flips(before: Sequence[Scored], after: Sequence[Scored]) -> dict[str, object]:
    return count_flips([image.verdict for image in before], [image.verdict for image in after])


def _groups(images: Iterable[Scored]) -> dict[str, list[Scored]]:
    """By make or generator, the largest first."""
    groups: dict[str, list[Scored]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _scores(images: Iterable[Scored]) -> list[HeadScores]:
    return [image.scores for image in images if image.scores]


def _sources(images: Iterable[Scored]) -> list[str]:
    """Of those that are in `_scores`; none where one is not known."""
    known = [image.source for image in images if image.scores]
    return known if all(known) else []


def _suspicion(scores: Sequence[HeadScores], column: int) -> Scores:
    return np.array([row.suspicion[column] for row in scores])


def _columns(images: Iterable[Scored]) -> dict[str, list[Any]]:
    """For plots, and whoever looks further: every image's name, and its suspicion by each head, to seven digits."""
    scored = [(image.name, image.scores.suspicion) for image in images if image.scores]
    by_head = {head: [float(f"{row[column]:.7g}") for _, row in scored] for column, head in enumerate(HEADS)}
    return {"file": [name for name, _ in scored], **by_head}
