"""One image under one condition -> what each head and the verdict say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.decode import decode
from pipeline.errors import RejectedUpload
from pipeline.evaluation.conditions import degrade
from pipeline.evaluation.labels import UNKNOWN, LabelledImage
from pipeline.one_class import Calibration
from pipeline.patches import NotApplicable
from pipeline.ports import Detector, ExifReader
from pipeline.records import DecodedImage, Examination, ModelVersion, Score, SurfacePolicy, VerdictKind
from pipeline.score import Scorer
from pipeline.second_look import NO_HEADER, Looking
from pipeline.settings import LimitSettings
from pipeline.verdict import decide

HEADS = ("one_class", "binary", "fused")


@dataclass(frozen=True, slots=True)
class HeadScores:
    """Of one image, by each of `HEADS`."""

    suspicion: tuple[float, float, float]
    """Higher = more like an AI image."""
    p_values: tuple[float, float, float]
    """Conformal: the share of calibration photographs at least as suspicious; of `fused`, after the second look."""


@dataclass(frozen=True, slots=True)
class Scored:
    name: str
    sha256: str
    group: str
    """Camera make or generator."""
    verdict: VerdictKind
    scores: HeadScores | None
    """None for what is rejected or not applicable."""
    source: str = ""
    """As in `LabelledImage`."""


class Scoring:
    """Scores images with one release. Each image is decoded once; the same bytes are scored once."""

    def __init__(
        self,
        detector: Detector,
        model: ModelVersion,
        scorer: Scorer,
        *,
        exif_reader: ExifReader,
        limits: LimitSettings,
        policy: SurfacePolicy,
    ) -> None:
        self._detector, self._model, self._scorer = detector, model, scorer
        self._exif_reader, self._limits, self._policy = exif_reader, limits, policy
        self._known: dict[tuple[str, str], tuple[VerdictKind, HeadScores | None]] = {}

    def score(
        self, image: LabelledImage, conditions: Sequence[str], *, done: Callable[[], None] = lambda: None
    ) -> list[Scored]:
        """`image` under each of `conditions`; `done` is called after each."""
        content = image.path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            decoded = decode(content, self._limits)
        except RejectedUpload:
            decoded = None
        group = image.group or self._make(content, decoded) or UNKNOWN
        scored = []
        for condition in conditions:
            if (sha256, condition) not in self._known:
                self._known[sha256, condition] = self._under(sha256, decoded, condition)
            scored.append(Scored(image.name, sha256, group, *self._known[sha256, condition], image.source))
            done()
        return scored

    def _make(self, content: bytes, decoded: DecodedImage | None) -> str | None:
        return self._exif_reader.read(content, decoded.format)[0].make if decoded else None

    def _under(
        self, sha256: str, decoded: DecodedImage | None, condition: str
    ) -> tuple[VerdictKind, HeadScores | None]:
        if decoded is None:
            return VerdictKind.REJECTED, None
        looking = Looking(self._detector, self._model, self._scorer, self._limits.patch_budget)
        try:
            score = looking.twice(degrade(decoded, condition), NO_HEADER, {}).score
        except NotApplicable:
            return VerdictKind.NOT_APPLICABLE, None
        verdict = decide(Examination(sha256=sha256, byte_size=0, score=score), self._policy)
        return verdict.kind, _by_head(self._scorer, score)


def _by_head(scorer: Scorer, score: Score) -> HeadScores:
    calibration = scorer.model
    return HeadScores(
        suspicion=(-score.log_likelihood, score.ai_probability, -score.fused),
        p_values=(
            Calibration(calibration.calibration_log_likelihood).p_value(score.log_likelihood),
            Calibration(np.sort(-calibration.calibration_ai_probability)).p_value(-score.ai_probability),
            score.p_value,
        ),
    )
