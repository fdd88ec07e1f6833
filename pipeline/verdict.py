"""Examination + the surface's policy -> Verdict."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from pipeline.ports import PolicyStore
from pipeline.read_out import is_soft
from pipeline.records import Examination, SurfacePolicy, Verdict, VerdictKind
from pipeline.settings import Settings


def policy_for(settings: Settings, surface: str) -> SurfacePolicy:
    """The surface's own thresholds by the settings, or the general ones."""
    policy = settings.surfaces.get(surface, settings.policy)
    return SurfacePolicy(policy.not_camera_fpr, policy.unsure_fpr, policy.decisions_needed)


def policy_in_force(policies: PolicyStore, settings: Settings, surface: str) -> SurfacePolicy:
    """What a lead saved for the surface last; where nobody did, the settings."""
    return policies.saved(surface) or policy_for(settings, surface)


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
    kind, reason = by_p_value(examination.score.p_value, policy, soft=is_soft(examination.score))
    return Verdict(kind, reason, policy)


def by_p_value(p_value: float, policy: SurfacePolicy, *, soft: bool) -> tuple[VerdictKind, str]:
    """Kind and reason of an image that was scored."""
    if p_value <= policy.not_camera_fpr:
        return VerdictKind.NOT_CAMERA, "p_value_at_most_not_camera_fpr"
    if p_value <= policy.unsure_fpr:
        return VerdictKind.UNSURE, "p_value_at_most_unsure_fpr"
    if soft:
        return VerdictKind.UNSURE, "too_soft_to_tell"
    return VerdictKind.CAMERA, "p_value_above_unsure_fpr"


def sampled(verdict: Verdict, sha256: str, share: float) -> Verdict:
    """The verdict, drawn for a person to check if it is one of `share` of the sure ones.

    The bytes decide, so copies and repeated tasks draw alike.
    """
    is_sure = verdict.kind in {VerdictKind.CAMERA, VerdictKind.NOT_CAMERA}
    return replace(verdict, is_sampled=is_sure and is_drawn(f"sample:{sha256}", share))


def is_drawn(name: str, share: float) -> bool:
    """True for `share` of all names, and always the same for one."""
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
    return number < share * 2**64
