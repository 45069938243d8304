"""Device-dependent execution: autocast, CPU fast paths, synchronization, timing and threads."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import cv2
import torch
from torch import Tensor

ResultT = TypeVar("ResultT")


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast on the device of ``like``, for steps that lose too much in bfloat16."""
    device = like.device.type
    # torch raises even for disabling autocast on devices that have none, such as meta.
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def in_inference() -> bool:
    """Return whether no result needs a gradient: in inference mode, and while a graph for inference is exported."""
    return torch.compiler.is_exporting() or torch.is_inference_mode_enabled()


def use_cpu_fast_path(layer_input: Tensor) -> bool:
    """Return whether the CPU inference fast path applies: no gradients, exact to float rounding.

    False under autocast, because half precision is too coarse for its sums and differences, and while compiling, because graphs
    are built from torch's own modules.
    """
    # First, because a compiler breaks the graph at the conditions that follow.
    if torch.compiler.is_compiling():
        return False
    return torch.is_inference_mode_enabled() and layer_input.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def synchronize(device: torch.device | None = None) -> None:
    """Wait for the work queued on an accelerator; ``None``: the current one. Returns at once for a CPU."""
    if torch.accelerator.is_available() and (device is None or device.type != "cpu"):
        torch.accelerator.synchronize(device)


def milliseconds(function: Callable[[], ResultT]) -> tuple[float, ResultT]:
    """Time a call, synchronized with its device; return milliseconds and result."""
    synchronize()
    start = time.perf_counter()
    result = function()
    synchronize()
    return 1e3 * (time.perf_counter() - start), result


def set_threads(threads: int | None) -> None:
    """Set the number of CPU threads of torch and OpenCV; ``None`` or 0 keeps their defaults."""
    if threads:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
