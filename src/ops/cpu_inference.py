"""Condition of the CPU inference fast paths."""

from __future__ import annotations

import torch
from torch import Tensor


def use_cpu_fast_path(tensor: Tensor) -> bool:
    """Return whether the CPU inference fast path applies: no gradients, exact to float rounding.

    False under autocast, because half precision is too coarse for its sums and differences, and while compiling, because graphs
    are built from torch's own modules.

    Args:
        tensor: input of the layer.
    """
    # First, because a compiler breaks the graph at the conditions that follow.
    if torch.compiler.is_compiling():
        return False
    return torch.is_inference_mode_enabled() and tensor.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
