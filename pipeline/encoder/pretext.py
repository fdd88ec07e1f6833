"""The pretext task: tell from a photograph's residuals what its EXIF header says about the camera.

14 tags (sdaie section 4). Categorical ones are classified; for the others only the *order* of two photographs is
learned: P(x1 >= x2) = Phi((s1 - s2) / sqrt 2) (Thurstone's model).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.encoder.tags import MAX_CLASSES, MIN_PHOTOGRAPHS, ORDER, Tag, choose_tags, labels

__all__ = [
    "MAX_CLASSES",
    "MIN_PHOTOGRAPHS",
    "ORDER",
    "Tag",
    "choose_tags",
    "classification_loss",
    "labels",
    "pretext_loss",
    "ranking_loss",
    "tag_accuracies",
]


def pretext_loss(outputs: Tensor, targets: Tensor, tags: Sequence[Tag], *, all_pairs: bool = True) -> Tensor:
    """Sum over the tags. `outputs` (B, T, K): all heads on each of an image's T tokens; `targets` (B, tags)."""
    per_head = outputs.split([tag.size for tag in tags], dim=2)
    losses = [
        classification_loss(head, target)
        if tag.kind == "class"
        else ranking_loss(head.squeeze(2), target, all_pairs=all_pairs)
        for tag, head, target in zip(tags, per_head, targets.unbind(1), strict=True)
    ]
    return torch.stack(losses).sum()


def classification_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of (B, T, classes) against (B,) class numbers; NaN is masked. 0 where nothing is known."""
    known = ~target.isnan()
    wanted = torch.where(known, target, -1).long().unsqueeze(1).expand(logits.shape[:2])  # (B, T)
    total = F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=-1, reduction="sum")
    return total / (known.sum() * logits.shape[1]).clamp_min(1)


def ranking_loss(scores: Tensor, target: Tensor, *, all_pairs: bool = True) -> Tensor:
    """Thurstone: every ordered pair of images with both values known, token by token; a tie counts as >=.

    (B, T) scores, (B,) values. A tie is asked for in both directions, so its best answer is equal scores.
    Without `all_pairs` an image is compared with the next one of the batch only: one partner each, as in the paper.
    """
    difference = (scores.unsqueeze(1) - scores.unsqueeze(0)) / math.sqrt(2)  # (B, B, T)
    at_least = (target.unsqueeze(1) >= target.unsqueeze(0)).unsqueeze(2)  # (B, B, 1)
    log_likelihood = torch.special.log_ndtr(torch.where(at_least, difference, -difference))
    known, same = ~target.isnan(), torch.eye(len(target), dtype=torch.bool, device=target.device)
    pairs = known.unsqueeze(1) & known.unsqueeze(0) & ~same  # (B, B)
    if not all_pairs:
        pairs &= same.roll(1, dims=1)
    total = (log_likelihood * pairs.unsqueeze(2)).sum()
    return -total / (pairs.sum() * scores.shape[1]).clamp_min(1)


def tag_accuracies(outputs: Tensor, targets: Tensor, tags: Sequence[Tag]) -> dict[str, dict[str, float]]:
    """Per tag: images with a label, the accuracy, and what always giving the majority answer would score.

    `outputs` (B, K), `targets` (B, 14). For ranked tags: the share of unequal pairs in the right order (majority 0.5).
    Tags with nothing to count are left out.
    """
    found: dict[str, dict[str, float]] = {}
    heads = outputs.split([tag.size for tag in tags], dim=1)
    for tag, all_outputs, all_targets in zip(tags, heads, targets.unbind(1), strict=True):
        known = ~all_targets.isnan()
        head, target = all_outputs[known], all_targets[known]
        if tag.kind == "class":
            right = (head.argmax(1) == target).float()
            majority = target.eq(target.mode().values).float().mean().item() if len(target) else 0.0
        else:
            above = target.unsqueeze(1) > target.unsqueeze(0)
            right = (head > head.squeeze(1)).float()[above]
            majority = 0.5
        if len(right):
            accuracy = right.mean().item()
            found[tag.name] = {"images": len(target), "accuracy": round(accuracy, 4), "majority": round(majority, 4)}
    return found
