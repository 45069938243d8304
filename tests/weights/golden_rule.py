"""The rule by which the reference numbers' weights and images are rebuilt (goldens/README.md)."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_AS_DRAWN = ("query_embed.weight", "query_feat.weight", "predictor.level_embed.weight", "decoder.level_embed.weight")


def keyed(key: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(key.encode()))


def golden_image(key: str, height: int, width: int) -> Tensor:
    return torch.from_numpy(keyed(key).integers(0, 256, (3, height, width)).astype(np.float32))


def golden_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    x = torch.from_numpy(np.asarray(keyed(name).standard_normal(shape), np.float32))
    if name.endswith("running_mean"):
        return 0.1 * x
    if name.endswith("running_var"):
        return 1 + 0.1 * x.abs()
    if name.endswith("class_embed.weight"):
        return 0.5 * x
    if len(shape) == 1:
        return 1 + 0.1 * x if name.endswith(".weight") else 0.05 * x
    if name.endswith(_AS_DRAWN):
        return x
    if name.endswith(("out_proj.weight", "linear2.weight")):
        x = x * 0.125
    return x * float(np.float32(np.sqrt((1 if len(shape) == 2 else 2) / np.prod(shape[1:]))))


def as_constructed(name: str, shape: tuple[int, ...]) -> Tensor:
    """Swin's index (number of the offset between two pixels of a window), and counters of batch norms."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    window = round(shape[0] ** 0.5)
    places = [(row, column) for row in range(window) for column in range(window)]
    return torch.tensor([[(a - c + window - 1) * (2 * window - 1) + b - d + window - 1 for c, d in places] for a, b in places])


def golden_layout(folder: Path) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape, _ in json.loads((folder / "state_dict.json").read_text())}


def golden_state(folder: Path) -> dict[str, Tensor]:
    """The whole official state dict of a folder of goldens/pipeline."""
    entries = json.loads((folder / "state_dict.json").read_text())
    return {name: (as_constructed if kind == "int" else golden_weight)(name, tuple(shape)) for name, shape, kind in entries}
