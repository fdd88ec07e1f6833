"""Networks on disk: one safetensors file of fp32 weights, and one JSON beside it that says what they are."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor, nn

from pipeline.encoder.network import PATCH, BinaryDetector, ExifHeads, SdaieEncoder
from pipeline.encoder.pretext import Tag


def export_encoder(
    folder: Path, encoder: SdaieEncoder, heads: ExifHeads, tags: Sequence[Tag], name: str, training: dict[str, Any]
) -> None:
    """encoder.safetensors (names `encoder.*`, `heads.*`) and encoder.json (tags in the order of the heads' outputs)."""
    described = [{key: value for key, value in asdict(tag).items() if value} for tag in tags]
    _write(folder / "encoder", _network(encoder, heads), {"name": name, "tags": described, "training": training})


def export_binary(folder: Path, detector: BinaryDetector, name: str, training: dict[str, Any]) -> None:
    """binary.safetensors and binary.json."""
    _write(folder / "binary", detector, {"name": name, "training": training})


def _write(stem: Path, module: nn.Module, card: dict[str, Any]) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: value.float().cpu().contiguous() for key, value in module.state_dict().items()}
    stem.with_suffix(".safetensors").write_bytes(save(weights))
    text = json.dumps({"network": "sdaie", "patch_size": PATCH, **card}, indent=1)
    stem.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def load_exported_encoder(folder: Path) -> tuple[SdaieEncoder, ExifHeads, tuple[Tag, ...]]:
    """The encoder, its heads and their tags from a release folder, in evaluation mode."""
    tags = read_tags(folder / "encoder.json")
    encoder, heads = SdaieEncoder(), ExifHeads(tag.size for tag in tags)
    _network(encoder, heads).load_state_dict(load_file(folder / "encoder.safetensors"))
    return encoder.eval(), heads.eval(), tags


def load_exported_binary(folder: Path) -> BinaryDetector:
    detector = BinaryDetector()
    state: dict[str, Tensor] = load_file(folder / "binary.safetensors")
    detector.load_state_dict(state)
    return detector.eval()


def read_tags(card: Path) -> tuple[Tag, ...]:
    described = json.loads(card.read_text(encoding="utf-8"))["tags"]
    return tuple(Tag(tag["name"], tag["kind"], tuple(tag.get("classes", ()))) for tag in described)


def _network(encoder: SdaieEncoder, heads: ExifHeads) -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": encoder, "heads": heads})
