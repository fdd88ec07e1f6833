"""Examination + the surface's policy -> Verdict."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from pipeline.ports import PolicyStore
from pipeline.read_out import is_soft
from pipeline.records import DOUBT, Examination, Score, SurfacePolicy, Verdict, VerdictKind
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
    two thresholds of a policy *are* its promised false-positive rates. Photographs that `camera` is withheld from are
    `unsure` beyond what the policy promises.
    """
    if examination.rejected is not None:
        return Verdict(VerdictKind.REJECTED, examination.rejected.value, policy)
    if examination.not_applicable is not None:
        return Verdict(VerdictKind.NOT_APPLICABLE, examination.not_applicable.value, policy)
    if examination.score is None:
        raise ValueError("an examination ends in a score, a rejection or a reason why it does not apply")
    p_value, why_withheld = examination.score.p_value, withheld(examination.score)
    kind = by_p_value(p_value, policy, is_withheld=why_withheld is not None)
    if why_withheld is not None and p_value > policy.unsure_fpr:
        return Verdict(kind, why_withheld, policy)
    return Verdict(kind, _REASONS[kind], policy)


_REASONS = {
    VerdictKind.NOT_CAMERA: "p_value_at_most_not_camera_fpr",
    VerdictKind.UNSURE: "p_value_at_most_unsure_fpr",
    VerdictKind.CAMERA: "p_value_above_unsure_fpr",
}


def by_p_value(p_value: float, policy: SurfacePolicy, *, is_withheld: bool) -> VerdictKind:
    """Of an image that was scored; `is_withheld`: it is not called `camera`."""
    if p_value <= policy.not_camera_fpr:
        return VerdictKind.NOT_CAMERA
    if p_value <= policy.unsure_fpr or is_withheld:
        return VerdictKind.UNSURE
    return VerdictKind.CAMERA


def withheld(score: Score) -> str | None:
    """Why the image is not called `camera`, however like photographs' its scores are; None: it may be.

    A soft image looks neither more nor less like a photograph than a generated one does after the same blur (ADR 8).
    What is strange at one size alone is a contradiction (ADR 18).
    """
    if is_soft(score):
        return "too_soft_to_tell"
    if score.half_size_p_value is None:
        return None
    strange, strange_at_half_size = (p <= DOUBT for p in (score.full_size_p_value, score.half_size_p_value))
    return "sizes_disagree" if strange is not strange_at_half_size else None


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
