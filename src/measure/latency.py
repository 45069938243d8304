"""Latency of calls, and the machine that they run on."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from src.ops.device import milliseconds

NameT = TypeVar("NameT")


@dataclass(frozen=True)
class Timing:
    """Wall time of one call, milliseconds: median, 10th and 90th percentile, maximum."""

    median_ms: float
    p10: float
    p90: float
    worst_ms: float


def time_in_turn(functions: Mapping[NameT, Callable[[], object]], warmup: int = 3, repeats: int = 10) -> dict[NameT, Timing]:
    """Time several functions, one call of each in turn, so that a change of the machine's speed affects all of them.

    Every call is synchronized with its device. ``warmup`` calls of each are not timed: first calls allocate, tune and compile.
    """
    if warmup < 0 or repeats < 1 or not functions:
        raise ValueError(f"{len(functions)} functions, warmup is {warmup} and repeats {repeats}; expected at least 1, 0 and 1")
    times: dict[NameT, list[float]] = {name: [] for name in functions}
    for number in range(warmup + repeats):
        for name, function in functions.items():
            taken, _ = milliseconds(function)
            if number >= warmup:
                times[name].append(taken)
    figures = {name: (*np.percentile(values, (50, 10, 90)).tolist(), max(values)) for name, values in times.items()}
    return {name: Timing(*values) for name, values in figures.items()}


def describe_machine(device: torch.device | str = "cpu") -> dict[str, str | int]:
    """Describe the conditions of a time: ``device``, ``threads``, ``precision`` of float32 products, ``torch``."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
        "precision": f"float32 products: {torch.get_float32_matmul_precision()}",
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Return the CPU's model name on Linux, its architecture elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
