"""Full precision inside autocast regions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Disable autocast on the device of ``like``, for steps that bf16 is too coarse for."""
    device = like.device.type
    # torch raises even when disabling autocast on a device without it, such as meta.
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
