"""A release folder: everything that one version of the detector consists of.

::

    encoder.safetensors  encoder.json    network, its EXIF tags and how it was trained
    binary.safetensors   binary.json     binary detector
    read_out.npz         read_out.json   weights of the residual statistics, and how they join the binary detector
    one_class.npz        one_class.json  mixtures, calibration scores, and where they come from
    MODEL_CARD.md                        for people

`pipeline/weights/` holds the shipped ones; `lenswatch models publish` takes any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import NotFound
from pipeline.one_class import OneClassModel
from pipeline.read_out import ReadOut
from pipeline.records import ModelVersion
from pipeline.score import ExifTag, Scorer
from pipeline.statistics import DIMENSIONS

CARD = "MODEL_CARD.md"

FILES = (
    "encoder.safetensors",
    "encoder.json",
    "binary.safetensors",
    "binary.json",
    "read_out.npz",
    "read_out.json",
    "one_class.npz",
    "one_class.json",
    CARD,
)


@dataclass(frozen=True, slots=True)
class Release:
    folder: Path
    encoder_json: Mapping[str, Any]
    one_class_json: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path, *, card: bool = True) -> Release:
        """Raises NotFound, naming what is missing, for a folder that is not a complete release.

        `card=False`: a release whose `MODEL_CARD.md` is yet to be written will do.
        """
        needed = [name for name in FILES if card or name != CARD]
        missing = [name for name in needed if not (folder / name).is_file()]
        if missing:
            raise NotFound(f"{folder} is not a release: it lacks {', '.join(missing)}")
        return cls(folder, _read_json(folder / "encoder.json"), _read_json(folder / "one_class.json"))

    @property
    def name(self) -> str:
        return self.folder.name

    def files(self) -> list[Path]:
        return [self.folder / name for name in FILES]

    def scorer(self) -> Scorer:
        one_class, read_out = ((self.folder / name).read_bytes() for name in ("one_class.npz", "read_out.npz"))
        return make_scorer(one_class, read_out, self.encoder_json)

    def digest(self) -> str:
        """SHA-256 over everything that decides a score: a figure that names it is about these weights and no others."""
        digest = hashlib.sha256()
        for name in (name for name in FILES if name.endswith((".safetensors", ".npz"))):
            digest.update(hashlib.sha256((self.folder / name).read_bytes()).digest())
        return digest.hexdigest()

    def as_version(self) -> ModelVersion:
        """The release as a model version of its own, for use without a registry."""
        return self.unversioned(self.name)

    @staticmethod
    def unversioned(name: str) -> ModelVersion:
        """A model version that no registry knows."""
        return ModelVersion(id=0, name=name, encoder_version=1, binary_version=1, artifact_prefix="")


def make_scorer(one_class_npz: bytes, read_out_npz: bytes, encoder_json: Mapping[str, Any]) -> Scorer:
    """The scorer from the three files of a release that it needs. Raises ValueError for files of another format."""
    held_out = encoder_json.get("training", {}).get("held_out", {})
    tags = tuple(
        ExifTag(
            name=tag["name"],
            classes=tuple(tag["classes"]) if tag["kind"] == "class" else None,
            is_informed=_beats_majority(held_out.get(tag["name"])),
        )
        for tag in encoder_json["tags"]
    )
    read_out = ReadOut.from_bytes(read_out_npz)
    if len(read_out.weights) != DIMENSIONS:
        raise ValueError(f"read-out of {len(read_out.weights)} statistics, not {DIMENSIONS}")
    return Scorer(OneClassModel.from_bytes(one_class_npz), read_out, tags)


def _beats_majority(measured: Mapping[str, float] | None) -> bool:
    """Of a head that nobody measured, as of imported weights, nothing is held against it."""
    return measured is None or measured["accuracy"] > measured["majority"]


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
