"""Where a training run starts: from the weights of a release, instead of random ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoder.export import load_exported_binary, load_exported_encoder
from pipeline.encoder.heads import StandardisedHeads, TrainedHeads
from pipeline.encoder.network import SdaieEncoder
from pipeline.encoder.tags import Tag


def training_before(release: Path, network: str) -> dict[str, Any]:
    """What a card says about a run's start: the release, and the patch passes that went into it, its own start's too.

    `network` is "encoder" or "binary".
    """
    card = json.loads((release / f"{network}.json").read_text(encoding="utf-8"))
    training = card["training"]
    passes = training.get("patch_passes", 0) + training.get("patch_passes_before", 0)
    return {"init": card["name"], "patch_passes_before": passes}


@torch.no_grad()
def start_encoder(
    encoder: SdaieEncoder, heads: TrainedHeads, tags: Sequence[Tag], release: Path, patches: Tensor
) -> None:
    """Load a release's encoder, and its heads class by class as far as it knew the tags; in place.

    `patches` uint8 (B, T, 64, 64, 3): on them the heads find out how the encoder's features are distributed.
    """
    network, known_heads, known_tags = load_exported_encoder(release)
    encoder.load_state_dict(network.state_dict())
    known = {(tag.name, tag.kind): number for number, tag in enumerate(known_tags)}
    plain: list[nn.Linear | None] = []
    for tag in tags:
        number = known.get((tag.name, tag.kind))
        found = None if number is None else by_class(known_heads.heads[number], known_tags[number].classes, tag.classes)
        plain.append(found)
    heads.take_over(plain, tokens_of(encoder, patches))


@torch.no_grad()
def start_binary(encoder: SdaieEncoder, read_out: StandardisedHeads, release: Path, patches: Tensor) -> None:
    """Load a release's binary detector, in place; `patches` as in `start_encoder`."""
    detector = load_exported_binary(release)
    encoder.load_state_dict(detector.encoder.state_dict())
    read_out.take_over([detector.fc], tokens_of(encoder, patches))


def by_class(head: nn.Module, known: Sequence[str], wanted: Sequence[str]) -> nn.Linear | None:
    """A head whose rows stand for the `wanted` classes; None where no class is known, and nothing can be kept.

    A class that the old head didn't know starts as the mean of its rows: neither favoured nor ruled out.
    """
    if not isinstance(head, nn.Linear):
        raise TypeError("a head is linear")
    if known == wanted:  # ranked tags too: one output, no classes
        return head
    if not set(known) & set(wanted):
        return None
    found = nn.Linear(head.in_features, len(wanted))
    for row, name in enumerate(wanted):
        old = known.index(name) if name in known else slice(None)
        found.weight.data[row] = head.weight.data[old].reshape(-1, head.in_features).mean(0)
        found.bias.data[row] = head.bias.data[old].mean()
    return found


def tokens_of(encoder: SdaieEncoder, patches: Tensor) -> Tensor:
    """uint8 (B, T, 64, 64, 3) -> what the heads read, (B * T, 528)."""
    features = encoder.forward_patches(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
    return encoder.mix(features).flatten(0, 1)
