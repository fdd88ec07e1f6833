"""The evidence card: everything known of one upload, ready to be drawn by `desk/_card.html`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import structlog
from markupsafe import Markup

from pipeline.errors import RetryableError
from pipeline.evidence import Findings
from pipeline.heatmap import MAX_SIDE
from pipeline.one_class import Calibration, OneClassModel
from pipeline.people import Role
from pipeline.pictures import orientation_of, upright_size
from pipeline.read_out import handling_told
from pipeline.records import STAGES, ModelVersion, ProvenanceClaim, Score, SurfacePolicy
from workers.bootstrap import Dependencies
from workers.web.desk import words
from workers.web.desk.charts import Line, histogram
from workers.web.desk.session import Person
from workers.web.desk.shell import percent, templates

log = structlog.get_logger(__name__)

templates.env.filters |= {"source_type": words.source_type, "exif_value": words.exif_value}


@dataclass(frozen=True, slots=True)
class Shown:
    """The image's pictures, px."""

    width: int
    """Of the view."""
    height: int
    full_width: int
    full_height: int
    has_heat: bool


@dataclass(frozen=True, slots=True)
class Charts:
    """Where the image's scores fall among the calibration photographs'."""

    log_likelihood: Markup
    ai_probability: Markup
    fused: Markup
    photographs: int
    """That log-likelihood and probability are compared with."""
    alike: int
    """That the p-value is compared with: those that were handled alike."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the template draws."""

    found: Findings
    sentence: str
    moves: list[str]
    handling: tuple[str, float] | None
    claims: list[words.Claim]
    provenance: Mapping[str, list[ProvenanceClaim]]
    """By kind."""
    charts: Charts | None
    """None where there is no score, or the model's files are out of reach."""
    shown: Shown | None
    """None where there is nothing to show."""
    viewer: Person
    notice: str = field(default=words.NOTICE)

    @property
    def timings(self) -> dict[str, float]:
        """Stage -> ms."""
        known = self.found.verdict.timings_ms if self.found.verdict else {}
        return {stage: known[stage] for stage in STAGES if stage in known}

    @property
    def may_see_items(self) -> bool:
        """Whether she is told which images wait: of golden ones it cannot be said, so reviewers would know them."""
        return self.viewer.may(Role.LEAD)


def evidence(deps: Dependencies, upload_id: int, *, viewer: Person, blind: bool) -> Evidence:
    """The card of an upload. `blind`: without what others said about items that are open, or can be reopened.

    Raises:
        NotFound: no such upload.
    """
    review = deps.settings.review
    with deps.stores.transaction() as transaction:
        found = transaction.evidence.of_upload(
            upload_id, near_bits=review.near_copy_bits, blind=blind, undo_window=review.undo_window
        )
    return Evidence(
        found=found,
        sentence=words.sentence(found),
        moves=words.moves(found),
        handling=words.handling(found.score) if found.score else None,
        claims=words.claims(found.score.exif_predictions) if found.score else [],
        provenance=_by_kind(found),
        charts=_charts(deps, found),
        shown=_shown(found),
        viewer=viewer,
    )


def _by_kind(found: Findings) -> dict[str, list[ProvenanceClaim]]:
    claims = found.media.provenance if found.media else ()
    kinds = ("c2pa", "iptc_digital_source_type", "generator")
    return {kind: [claim for claim in claims if claim.kind == kind] for kind in kinds}


def _shown(found: Findings) -> Shown | None:
    media = found.media
    if media is None or media.rejected or not media.width or not media.height or found.upload.deleted_at:
        return None
    orientation = orientation_of(media.format, found.exif.tags if found.exif else {})
    width, height = upright_size(media.width, media.height, orientation)
    scale = min(1.0, MAX_SIDE / max(width, height))
    return Shown(round(scale * width), round(scale * height), width, height, has_heat=found.score is not None)


def _charts(deps: Dependencies, found: Findings) -> Charts | None:
    if found.score is None or found.verdict is None:
        return None
    model = _one_class(deps, found.verdict.model)
    return _draw(model, found.score, found.verdict.policy) if model else None


def _one_class(deps: Dependencies, model: ModelVersion) -> OneClassModel | None:
    try:
        return deps.registry.scorer(model).model
    except RetryableError as error:  # the numbers stand in the card without their pictures, too
        log.warning("no_calibration", model=model.name, error=str(error))
        return None


def _draw(model: OneClassModel, score: Score, policy: SurfacePolicy) -> Charts:
    alike = model.alike(handling_told(score.exif_predictions))
    return Charts(
        log_likelihood=_log_likelihood(model, score),
        ai_probability=_ai_probability(model, score),
        fused=_fused(alike, score, policy),
        photographs=len(model.calibration_log_likelihood),
        alike=alike.photographs,
    )


def _log_likelihood(model: OneClassModel, score: Score) -> Markup:
    interval = score.percentile_interval
    return histogram(
        model.calibration_log_likelihood,
        marker=score.log_likelihood,
        title="Log-likelihood among the calibration photographs",
        desc=f"{score.log_likelihood:,.1f}, percentile {score.percentile:.1f} ({interval.low:.1f} to"
        f" {interval.high:.1f}); further left is less like them.",
    )


def _ai_probability(model: OneClassModel, score: Score) -> Markup:
    above = float(np.mean(model.calibration_ai_probability >= score.ai_probability))
    return histogram(
        model.calibration_ai_probability,
        marker=score.ai_probability,
        limits=(0, 1),
        text=lambda value: percent(value, 0),
        title="Binary detector's probability among the calibration photographs",
        desc=f"{percent(score.ai_probability)}; {percent(above)} of the calibration photographs have as much or more.",
    )


def _fused(alike: Calibration, score: Score, policy: SurfacePolicy) -> Markup:
    rates = (("not_camera", policy.not_camera_fpr, "bad"), ("unsure", policy.unsure_fpr, "warn"))
    found = [(name, rate, style, alike.threshold(rate)) for name, rate, style in rates]
    return histogram(
        alike.scores,
        marker=score.fused,
        lines=[Line(at, f"{name} {percent(rate)}", style) for name, rate, style, at in found if at is not None],
        title="Both heads together, among photographs handled like this one, with the thresholds",
        desc=f"p-value at full size {percent(score.full_size_p_value)}:"
        f" not_camera at {percent(policy.not_camera_fpr)} or less,"
        f" unsure at {percent(policy.unsure_fpr)} or less.",
    )
