"""Keeping a step in full precision inside an autocast region."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """A context without autocast on the device of ``like``; for the steps that bf16 is too coarse for."""
    device = like.device.type
    # torch refuses to even disable autocast where there is none, as on the meta device.
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
