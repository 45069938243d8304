"""Where networks may go a shorter way than the one they are trained by."""

from __future__ import annotations

import torch
from torch import Tensor


def use_cpu_fast_path(tensor: Tensor) -> bool:
    """Whether a way that is exact to float rounding, made for CPUs and without gradients, may be taken.

    In inference mode on a CPU, but not in half precision, which is too coarse for the sums and differences of such ways, and not
    compiled: a graph wants torch's own modules.

    Args:
        tensor: what goes in.
    """
    # First, as a compiler breaks the graph at the questions that follow.
    if torch.compiler.is_compiling():
        return False
    return torch.is_inference_mode_enabled() and tensor.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
