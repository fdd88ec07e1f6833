"""Read the SDAIE authors' weight files into our network, and compare with their recorded outputs.

Their files carry no licence: nothing of them is shipped, this only reads a file that the operator already has.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.encoder.export import export_binary, export_encoder
from pipeline.encoder.network import BinaryDetector, ExifHeads, SdaieEncoder
from pipeline.encoder.pretext import ORDER, Tag
from pipeline.highpass import BANK

State = dict[str, Tensor]

_STEM_AND_STAGES = {
    "group1_b.0": "trunk.stem.conv",
    "group1_b.1": "trunk.stem.norm",
} | {
    f"group{stage}.{3 * layer + part}": f"trunk.stage{stage}.{kind}.{layer}"
    for stage, depth in ((2, 4), (3, 2), (4, 2), (5, 2))
    for layer in range(depth)
    for part, kind in ((0, "convs"), (1, "norms"))
}
_TRANSFORMER = {
    "0.norm": "attention_norm",
    "0.fn.to_qkv": "to_qkv",
    "0.fn.to_out.0": "to_out",
    "1.norm": "mlp_norm",
    "1.fn.net.0": "mlp_in",
    "1.fn.net.3": "mlp_out",
}
_FIXED_FILTERS = "group1.hpf.weight"


def load_encoder(path: Path) -> tuple[SdaieEncoder, ExifHeads]:
    """The pretext network and its 14 heads from a backbone file. Raises KeyError or RuntimeError on any other file."""
    state = _read(path)
    encoder = SdaieEncoder()
    encoder.load_state_dict(_backbone(state, "module.backbone."))
    numbers = sorted(int(m[1]) for key in state if (m := re.fullmatch(r"module\.fc(\d+)\.weight", key)))
    heads = ExifHeads(len(state[f"module.fc{n}.weight"]) for n in numbers)
    for head, n in zip(heads.heads, numbers, strict=True):
        head.load_state_dict(_below(state, f"module.fc{n}."))
    return encoder.eval(), heads.eval()


def load_binary(path: Path) -> BinaryDetector:
    """The real/AI classifier from a binary file (its second, trained backbone)."""
    state = _read(path)
    detector = BinaryDetector()
    detector.encoder.load_state_dict(_backbone(state, "module.diffusionextractor_random."))
    detector.fc.load_state_dict(_below(state, "module.fc."))
    return detector.eval()


def convert(path: Path, folder: Path) -> Path:
    """Write a backbone file as encoder.*, a binary file as binary.* of a release folder; returns the weights' path.

    What the classes of a head are called is not in the file, so they are numbered.
    """
    facts = {"imported_from": path.name}
    if any(key.startswith("module.backbone.") for key in _read(path)):
        encoder, heads = load_encoder(path)
        tags = [
            Tag(name, "class", tuple(f"class {n}" for n in range(1, size + 1)))
            if kind == "class"
            else Tag(name, "rank")
            for (name, kind), size in zip(ORDER, heads.sizes, strict=True)
        ]
        export_encoder(folder, encoder, heads, tags, path.stem, facts)
        return folder / "encoder.safetensors"
    export_binary(folder, load_binary(path), path.stem, facts)
    return folder / "binary.safetensors"


@torch.inference_mode()
def verify(folder: Path, *, folded: bool = False) -> dict[str, float]:
    """Largest absolute difference per family between our network and the recorded outputs of the authors'.

    `folder` holds backbone_random.pth, binary_random.pth and expected.npz (patches_i uint8 (n, 3, 64, 64) and what
    they give). `folded` checks the 7x7 form of the stem that training and serving use.
    """
    encoder, heads = load_encoder(folder / "backbone_random.pth")
    binary = load_binary(folder / "binary_random.pth")
    worst = dict.fromkeys(("feature", "covpool", "heads", "binary_prob"), 0.0)
    with np.load(folder / "expected.npz") as expected:
        for case in sorted(key.removeprefix("patches_") for key in expected if key.startswith("patches_")):
            patches = torch.from_numpy(expected[f"patches_{case}"]).permute(0, 2, 3, 1)
            covpool = encoder.forward_patches(patches, folded=folded)
            feature = encoder.forward_tokens(covpool, [len(patches)])
            binary_tokens = binary.encoder.forward_patches(patches, folded=folded)
            logits = binary.fc(binary.encoder.forward_tokens(binary_tokens, [len(patches)]))
            head_outputs = np.concatenate([expected[f"head{i + 1}_{case}"] for i in range(len(heads.sizes))], 1)
            for family, ours, theirs in (
                ("feature", feature, expected[f"feature_{case}"]),
                ("covpool", covpool, expected[f"covpool_{case}"][0]),
                ("heads", heads(feature), head_outputs),
                ("binary_prob", logits.softmax(1), expected[f"binary_prob_{case}"]),
            ):
                worst[family] = max(worst[family], _difference(ours, theirs))
    return worst


def _difference(ours: Tensor, theirs: npt.NDArray[np.float32]) -> float:
    if tuple(ours.shape) != theirs.shape:
        raise ValueError(f"shape {tuple(ours.shape)} where {theirs.shape} is expected")
    return float(np.abs(ours.numpy() - theirs).max())


def _read(path: Path) -> State:
    state: State = torch.load(path, map_location="cpu", weights_only=True)["state_net"]
    return state


def _below(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _backbone(state: State, prefix: str) -> State:
    """Their backbone's names -> ours; the fixed filters must be the bank of `pipeline.highpass`."""
    theirs = _below(state, prefix)
    if not np.allclose(theirs.pop(_FIXED_FILTERS)[:, 0].numpy(), BANK, atol=1e-6):
        raise ValueError("the file's residual filters are not the SRM bank")
    return {_our_name(key): value for key, value in theirs.items()}


def _our_name(key: str) -> str:
    module, parameter = key.rsplit(".", 1)
    if match := re.fullmatch(r"transformer\.layers\.(\d+)\.(.+)", module):
        return f"blocks.{match[1]}.{_TRANSFORMER[match[2]]}.{parameter}"
    return f"{_STEM_AND_STAGES[module]}.{parameter}"
