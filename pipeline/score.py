"""DetectorOutput and statistics -> Score: likelihood, percentile and p-value, heat map, EXIF claims against pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.one_class import OneClassModel, Traces, percentile
from pipeline.read_out import ReadOut, tell_handling
from pipeline.records import DetectorOutput, ExifFacts, ExifPrediction, Patches, Score
from pipeline.statistics import self_described


@dataclass(frozen=True, slots=True)
class ExifTag:
    """One of the 14 EXIF heads. A head without classes ranks; its scalar has no meaning for a single image."""

    name: str
    classes: tuple[str, ...] | None
    is_informed: bool = True
    """As in `ExifPrediction`."""

    @property
    def width(self) -> int:
        return len(self.classes) if self.classes else 1


@dataclass(frozen=True, slots=True)
class Scorer:
    """Implements `ports.OneClassScorer` for one release."""

    model: OneClassModel
    read_out: ReadOut
    tags: tuple[ExifTag, ...]

    def score(
        self, output: DetectorOutput, patches: Patches, statistics: NDArray[np.float32], exif: ExifFacts
    ) -> Score:
        counts = np.array([len(patches.pixels)])
        traces = Traces.of(output.encoder.embedding[None], self_described(statistics)[None], counts)
        likelihood = self.model.image.log_likelihood(traces)
        ai_probability = float(self.read_out.probability(np.array(output.ai_probability), statistics))
        handling = self.read_out.handling_probabilities(statistics)
        fused = float(self.model.fusion.fuse(likelihood, np.array([ai_probability]))[0])
        p_value = self.model.p_value(fused, int(handling.argmax()))
        position, interval = percentile(self.model.calibration_log_likelihood, float(likelihood[0]))
        return Score(
            log_likelihood=float(likelihood[0]),
            percentile=position,
            percentile_interval=interval,
            ai_probability=ai_probability,
            fused=fused,
            p_value=p_value,
            full_size_p_value=p_value,
            half_size_p_value=None,
            patch_log_likelihoods=tuple(self.model.patch.log_likelihood(output.encoder.patch_features).tolist()),
            patch_corners=tuple((int(y), int(x)) for y, x in patches.corners),
            exif_predictions=(*compare_exif(self.tags, output.encoder.exif, exif), tell_handling(handling)),
        )


def compare_exif(tags: Sequence[ExifTag], outputs: NDArray[np.float32], exif: ExifFacts) -> Iterator[ExifPrediction]:
    """What the heads read out of the pixels beside what the header claims, for each categorical tag.

    `outputs` is (K,): the heads' outputs one after the other.
    """
    start = 0
    for tag in tags:
        logits = outputs[start : start + tag.width]
        start += tag.width
        if tag.classes is None:
            continue
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        claimed = exif.tags.get(tag.name)
        known = class_of(claimed, tag.classes)
        yield ExifPrediction(
            tag=tag.name,
            predicted=tag.classes[int(probabilities.argmax())],
            probability=float(probabilities.max()),
            claimed=None if claimed is None else str(claimed),
            claimed_probability=None if known is None else float(probabilities[known]),
            is_informed=tag.is_informed,
        )


def class_of(value: str | float | int | None, classes: Sequence[str]) -> int | None:
    """Index of the class that a header's value belongs to, or None. Makers spell their names in several ways."""
    if value is None:
        return None
    text = str(value).strip().casefold()
    folded = [name.casefold() for name in classes]
    if text in folded:
        return folded.index(text)
    first_word = text.split(" ")[0]  # "NIKON CORPORATION" is the class "Nikon",
    if first_word in folded:
        return folded.index(first_word)
    first_words = [name.split(" ")[0] for name in folded]  # and "Nikon" the class "NIKON CORPORATION"
    return first_words.index(text) if first_words.count(text) == 1 else None
