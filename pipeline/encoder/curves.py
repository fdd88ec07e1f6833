"""Training curves for TensorBoard, where it is installed; a bare GPU machine trains without."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Curves:
    """Numbers over steps in OUT/tensorboard."""

    def __init__(self, folder: Path, first_step: int, *, active: bool) -> None:
        """`first_step`: a run that goes on replaces what its predecessor drew after its last checkpoint."""
        self.writer: Any = None
        if not active:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.writer = SummaryWriter(folder, purge_step=first_step)

    def add(self, step: int, group: str, values: Mapping[str, Any]) -> None:
        """`values` may be nested: {"Make": {"accuracy": 0.4}} draws GROUP/Make/accuracy. Only numbers are drawn."""
        if self.writer:
            for name, value in _numbers(group, values):
                self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self.writer:
            self.writer.close()


def _numbers(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        path = f"{prefix}/{name}"
        if isinstance(value, Mapping):
            yield from _numbers(path, value)
        elif isinstance(value, int | float) and math.isfinite(value):
            yield path, float(value)
