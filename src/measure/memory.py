"""Peak memory of a call."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from src.ops.device import synchronize


def peak_memory_mib(function: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Measure the peak memory of a function, including memory in use before the call such as weights, in MiB.

    On CUDA this is the memory that torch allocated on the device. On a CPU it is the resident memory of the process, including
    interpreter and libraries (about 500 MiB); outside Linux, which can reset it, the peak may be that of earlier calls.
    """
    device = torch.device(device)
    gc.collect()
    if device.type == "cuda":
        synchronize()
        torch.cuda.reset_peak_memory_stats(device)
        function()
        synchronize()
        return torch.cuda.max_memory_allocated(device) / 2**20
    _forget_peak()
    function()
    return peak_kib() / 2**10


def _forget_peak() -> None:
    """Reset the process's peak to its current memory."""
    switch = Path("/proc/self/clear_refs")
    # Some containers mount /proc read-only.
    if os.access(switch, os.W_OK):
        switch.write_text("5")


def peak_kib() -> float:
    """Return the peak resident memory of this process, KiB."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
        return float(lines["VmHWM"].removesuffix("kB"))
    import resource  # not available on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak / 2**10 if sys.platform == "darwin" else float(peak)
