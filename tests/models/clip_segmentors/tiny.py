"""A tiny MRCFA for tests."""

from typing import Any

import torch
from torch import Tensor

from src.models.clip_segmentors.mrcfa import MrcfaSegmentor


def tiny_mrcfa(num_classes: int = 5, **changes: Any) -> MrcfaSegmentor:
    """Build a network of a few thousand parameters, in eval mode, whose frames differ in their labels."""
    settings = {"widths": (4, 8, 10, 16), "depths": (1, 1, 1, 1), "embed_dim": 8, "kept_share": 0.5, **changes}
    network = MrcfaSegmentor(num_classes, **settings).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def random_frames(*shape: int) -> Tensor:
    """Return uint8 frames (*shape, 3, 64, 96)."""
    return torch.randint(0, 256, (*shape, 3, 64, 96), dtype=torch.uint8)
