"""What becomes of an image's verdict when the image is degraded.

A degraded image may become `unsure`; from `camera` straight to `not_camera`, or back, it must not go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.evaluation.figures import as_json, share
from pipeline.records import VerdictKind

CHANGES = ("same", "unsure", "flipped", "not_applicable")


def change(before: VerdictKind, after: VerdictKind) -> str:
    """One of `CHANGES`; `unsure` is to or from it. What has no verdict on either side is `not_applicable`."""
    both = {before, after}
    if both & {VerdictKind.NOT_APPLICABLE, VerdictKind.REJECTED}:
        return "not_applicable"
    if before == after:
        return "same"
    return "unsure" if VerdictKind.UNSURE in both else "flipped"


def count_flips(before: Sequence[VerdictKind], after: Iterable[VerdictKind]) -> dict[str, object]:
    """How many images went each way, and the share that flipped among those with a verdict on both sides.

    `before` and `after` hold the same images in the same order.
    """
    counts = Counter(change(*pair) for pair in zip(before, after, strict=True))
    found: dict[str, object] = {"images": len(before), **{name: counts[name] for name in CHANGES}}
    judged = len(before) - counts["not_applicable"]
    return found | (as_json({"flipped_share": share(counts["flipped"], judged)}) if judged else {})
