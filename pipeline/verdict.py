"""Examination + the surface's policy -> Verdict."""

from __future__ import annotations

from pipeline.read_out import is_soft
from pipeline.records import Examination, SurfacePolicy, Verdict, VerdictKind
from pipeline.settings import Settings


def policy_for(settings: Settings, surface: str) -> SurfacePolicy:
    """The surface's own thresholds, or the general ones."""
    policy = settings.surfaces.get(surface, settings.policy)
    return SurfacePolicy(not_camera_fpr=policy.not_camera_fpr, unsure_fpr=policy.unsure_fpr)


def decide(examination: Examination, policy: SurfacePolicy) -> Verdict:
    """The verdict, with the reason that decided it.

    A conformal p-value at or under alpha befalls at most a share alpha of photographs like the calibration ones, so the
    two thresholds of a policy *are* its promised false-positive rates. A soft image is never called `camera`: it looks
    neither more nor less like a photograph than a generated one does after the same blur. So photographs that are
    enlarged or blurred are `unsure` beyond what the policy promises (ADR 8).
    """
    if examination.rejected is not None:
        return Verdict(VerdictKind.REJECTED, examination.rejected.value, policy)
    if examination.not_applicable is not None:
        return Verdict(VerdictKind.NOT_APPLICABLE, examination.not_applicable.value, policy)
    if examination.score is None:
        raise ValueError("an examination ends in a score, a rejection or a reason why it does not apply")
    p_value = examination.score.p_value
    if p_value <= policy.not_camera_fpr:
        return Verdict(VerdictKind.NOT_CAMERA, "p_value_at_most_not_camera_fpr", policy)
    if p_value <= policy.unsure_fpr:
        return Verdict(VerdictKind.UNSURE, "p_value_at_most_unsure_fpr", policy)
    if is_soft(examination.score):
        return Verdict(VerdictKind.UNSURE, "too_soft_to_tell", policy)
    return Verdict(VerdictKind.CAMERA, "p_value_above_unsure_fpr", policy)
