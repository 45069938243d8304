"""Latency of both kinds of frames of a stream on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from src.inference.scheduling.change import ChangeSettings
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import StepResult, StreamingSegmentor
from src.ops.device import synchronize


def measure_ms(stream: StreamingSegmentor, image: Tensor, repeats: int = 5) -> StepCosts:
    """Measure key and propagated frames from decoded frame to label map, change signals included.

    Returns medians, after one untimed call of each kind; takes a few seconds.

    Args:
        stream: segmentor; its scheduler is not used.
        image: (1, 3, H, W), a frame of the expected size.
        repeats: timed calls of each kind.
    """
    size = (image.shape[-2], image.shape[-1])
    _, state = stream.segment_key(image)
    settings = ChangeSettings()
    change = settings.update_change(stream.resize(image), None)

    def segment() -> None:
        settings.update_change(stream.resize(image), change)
        prediction, key = stream.segment_key(image)
        StepResult(prediction, None, key, stream.map_size).semantic_map(size)

    def propagate() -> None:
        settings.update_change(stream.resize(image), change)
        stream.propagate(image, state).semantic_map(size)

    return StepCosts(*_medians((segment, propagate), repeats, state.image.device))


def _medians(calls: tuple[Callable[[], None], ...], repeats: int, device: torch.device) -> list[float]:
    """Time calls in turn, so that a machine that slows down affects all of them; returns milliseconds."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(repeats + 1):
        for call, taken in zip(calls, times, strict=True):
            synchronize(device)
            started = time.perf_counter()
            call()
            synchronize(device)
            if number:
                taken.append(1e3 * (time.perf_counter() - started))
    return [median(taken) for taken in times]
