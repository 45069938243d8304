"""The clips of the VSPW reference numbers."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.structures import IGNORE_INDEX


class GoldenClip(NamedTuple):
    """One clip: label PNG values (0 = ignore), what they mean, and the predicted classes; (T, H, W) int64 each."""

    name: str
    raw_label: Tensor
    label: Tensor
    prediction: Tensor


def golden_clips(goldens: Path) -> list[GoldenClip]:
    """All clips, those that the reference leaves out (of 16 frames or fewer) too."""
    arrays = np.load(goldens / "metrics" / "vspw_metrics.npz")
    clips = []
    for name in sorted({key.split("/")[0] for key in arrays}):
        raw = torch.from_numpy(arrays[f"{name}/label"]).long()
        prediction = torch.from_numpy(arrays[f"{name}/prediction"]).long()
        clips.append(GoldenClip(name, raw, torch.where(raw == 0, IGNORE_INDEX, raw - 1), prediction))
    return clips
