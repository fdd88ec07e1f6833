"""How well images of generators and cameras are told apart that nothing was fitted on.

Leave-one-generator-family-out crossed with leave-phone-makes-out: each fold fits the read-out of residual statistics
and the one-class model without one family of generators and without the phones of some makes, and is asked about just
these; images of the sources that they come from are left out too. Within a fold the binary head is the
statistics alone: the binary network of a release has seen every family, and training one for each fold takes a GPU.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pipeline.evaluation.conditions import STANDING
from pipeline.evaluation.figures import as_json, measure
from pipeline.one_class import logit
from pipeline.retrain.described import Described, mean_by
from pipeline.retrain.fit import (
    WEIGHTS,
    MixtureChoice,
    PhotoFeatures,
    by_stability,
    choose_views,
    fit_views,
    standardised_fusion,
)
from pipeline.retrain.read_out import fit_read_out

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FAMILIES: Mapping[str, str] = {
    "gan": r"gan",
    "dall-e": r"^dall-e",
    "gpt-image": r"gpt",
    "gemini": r"gemini|imagen\b|whisk",
    "midjourney": r"midjourney",
    "sdxl-class": r"(?<!1\.5 or )sdxl|cascade|ssd-1b|vega|playground|sdxs|segmoe",
    "early-latent": r"diffusion 1|1\.x|latent diff|karlo|glid|dit-xl|simulacra|kandinsky 2|blip|unidiffuser|preset",
    "flux-class": r"",
}
"""Family -> pattern of its generators' names, lower case; the first that is found decides. The last takes the rest:
flow-matching transformers of 2024 and later."""

PHONES: Mapping[str, frozenset[str]] = {
    "apple": frozenset({"apple"}),
    "samsung+google": frozenset({"samsung", "google"}),
    "huawei+xiaomi+oneplus": frozenset(
        "huawei honor xiaomi oneplus oppo vivo realme meizu zte lenovo".split()  # noqa: SIM905  a list of words
    ),
    "others": frozenset("hmd nokia motorola lge lg nothing doogee htc blackberry sony fairphone".split()),  # noqa: SIM905
}
"""Group -> makes, as `LabelledCrop.make` spells them."""

HEADS = ("one_class", "binary", "fused")


def family_of(generator: str) -> str:
    """One of `FAMILIES`."""
    name = generator.casefold()
    return next(family for family, pattern in FAMILIES.items() if re.search(pattern, name))


@dataclass(frozen=True, slots=True)
class Fold:
    family: str
    phones: str
    left_out: Mask
    """(n,): crops of the family and of the makes."""
    usable: Mask
    """(n,): crops to fit on: none that is left out, nor of a source that has one. A source's own resizing and saving
    would give its other images away."""


def folds(data: Described, families: Sequence[str], phones: Sequence[str]) -> Iterator[Fold]:
    """Every family with every group of makes, where both have crops."""
    family = np.array([family_of(crop.camera) if crop.is_ai else "" for crop in data.crops])
    make = np.array([crop.make for crop in data.crops])
    source = np.array([crop.source for crop in data.crops])
    for name in families:
        for group in phones:
            photographs, generated = np.isin(make, list(PHONES[group])) & ~data.is_ai, family == name
            if photographs.any() and generated.any():
                left_out = photographs | generated
                yield Fold(name, group, left_out, ~np.isin(source, source[left_out]))


def photo_features(data: Described, rows: NDArray[np.bool_]) -> PhotoFeatures:
    """Of these crops' photographs as found, for a one-class fit."""
    first = data.first_crops(rows)
    by_image = np.argsort(data.images(first))
    return PhotoFeatures(
        traces=data.image_traces(rows, 0),
        ai_probabilities=data.network[first, 0][by_image],
        groups=data.image_sources(rows),
        parts=data.image_traces(first, 0),
    )


def scores(data: Described, fold: Fold, chosen: Mapping[str, MixtureChoice]) -> dict[str, Floats]:
    """Suspicion of the fold's left-out images by each of `HEADS`, (images, 2): as found and re-encoded.

    The read-out that answers is fitted on all that the fold leaves, the one-class model on what it leaves of the
    photographs that were not held out, standardised by the others, its views weighed by those that weigh.
    """
    fit, held_out, asked = fold.usable, data.held_out, fold.left_out
    photographs = fit & held_out & ~data.is_ai
    standard, parts = (data.image_traces(rows, 0) for rows in (photographs, data.first_crops(photographs)))
    image = fit_views(data.image_traces(fit & ~held_out & ~data.is_ai, 0), standard, parts, chosen, seed=0)
    image = by_stability(image, *data.histories(photographs & data.weighs))
    fusion = standardised_fusion(image.log_likelihood(standard), WEIGHTS)
    likelihood = np.stack([image.log_likelihood(data.image_traces(asked, version)) for version in (0, 1)], axis=1)
    log_odds = mean_by(data.images(asked), logit(read_out_probability(data, fold)))
    return {"one_class": -likelihood, "binary": log_odds, "fused": -fusion.fuse(likelihood, expit(log_odds))}


def read_out_probability(data: Described, fold: Fold) -> Floats:
    """Of the fold's left-out crops to be AI, by the statistics alone, fitted on all that the fold leaves; (m, 2)."""
    asked, standing = fold.left_out, len(STANDING)
    read_out = fit_read_out(data, fold.usable)
    return read_out.probability(data.network[asked, :standing], data.statistics[asked, :standing])


def evaluate_unseen(
    data: Described,
    families: Sequence[str] = tuple(FAMILIES),
    phones: Sequence[str] = tuple(PHONES),
    *,
    track: Callable[[Sequence[Fold]], Iterable[Fold]] = iter,
) -> dict[str, Any]:
    """`{"folds": [{"family", "makes", "real", "ai", "as_found": {head: {"auroc", ...}}, "reencoded": ...}, ...],
    "mean": ..., "worst": ...}`; the worst is the lowest fold.

    `track` may draw a progress bar. Raises ValueError for too few photographs.
    """
    chosen: dict[bytes, Mapping[str, MixtureChoice]] = {}
    rows = []
    for fold in track(list(folds(data, families, phones))):
        photographs = fold.usable & ~data.held_out & ~data.is_ai  # the same in many folds
        known = photographs.tobytes()
        if known not in chosen:
            chosen[known] = choose_views(photo_features(data, photographs), seed=0).chosen
        rows.append(_row(data, fold, scores(data, fold, chosen[known])))
    return {"folds": rows, "mean": _over(rows, np.mean), "worst": _over(rows, np.min)}


def _row(data: Described, fold: Fold, by_head: Mapping[str, Floats]) -> dict[str, Any]:
    _, is_ai = images_of(data, fold)
    sources = data.image_sources(fold.left_out)
    apart = {"real_sources": sources[~is_ai].tolist(), "ai_sources": sources[is_ai].tolist()}
    row: dict[str, Any] = {
        "family": fold.family,
        "makes": [fold.phones],
        "real": int((~is_ai).sum()),
        "ai": int(is_ai.sum()),
    }
    for version, condition in enumerate(STANDING):
        row[condition] = {
            head: as_json(measure(values[~is_ai, version], values[is_ai, version], resamples=200, **apart))
            for head, values in by_head.items()
        }
    return row


def images_of(data: Described, fold: Fold) -> tuple[NDArray[np.intp], Mask]:
    """Image of each left-out crop, (m,), and which images are AI, (images,). Crops of one image count as one: what is
    said of them is to be averaged (`mean_by`)."""
    images = data.images(fold.left_out)
    return images, mean_by(images, data.is_ai[fold.left_out].astype(float)) > 0


def _over(rows: Sequence[Mapping[str, Any]], summary: Callable[[Sequence[float]], Any]) -> dict[str, Any]:
    return {
        condition: {
            head: {"auroc": round(float(summary([row[condition][head]["auroc"] for row in rows])), 4)} for head in HEADS
        }
        for condition in STANDING
    }
