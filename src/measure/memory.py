"""How much memory a call needs at its peak."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from src.ops.device import synchronize


def peak_memory_mib(function: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Run a function once and say how much memory was in use at its peak, with all that was there before: weights above all.

    On CUDA what torch allocated on the device. On a CPU what the process had in real memory, interpreter and libraries
    (about 500 MiB) included; where the system cannot forget an earlier peak (only Linux can), that may be the higher one.

    Args:
        function: called once.
        device: where it works.

    Returns:
        MiB.
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
    return _peak_kib() / 2**10


def _forget_peak() -> None:
    """Set the process's peak to what it uses now."""
    switch = Path("/proc/self/clear_refs")
    # Some containers mount /proc read-only.
    if os.access(switch, os.W_OK):
        switch.write_text("5")


def _peak_kib() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
        return float(lines["VmHWM"].removesuffix("kB"))
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak / 2**10 if sys.platform == "darwin" else float(peak)
