"""Device-dependent execution: autocast, synchronization and CPU threads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import cv2
import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast on the device of ``like``, for steps that lose too much in bfloat16."""
    device = like.device.type
    # torch raises even for disabling autocast on devices that have none, such as meta.
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def synchronize(device: torch.device | None = None) -> None:
    """Wait for the work queued on an accelerator; ``None``: the current one. Returns at once for a CPU."""
    if torch.accelerator.is_available() and (device is None or device.type != "cpu"):
        torch.accelerator.synchronize(device)


def set_threads(threads: int | None) -> None:
    """Set the number of CPU threads of torch and OpenCV; ``None`` or 0 keeps their defaults."""
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
