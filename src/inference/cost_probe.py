"""Time both kinds of frames of a stream on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from src.inference.scheduling.change import update_change
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import StepResult, StreamingSegmentor
from src.ops.device import synchronize


def measure_ms(stream: StreamingSegmentor, image: Tensor, repeats: int = 5) -> StepCosts:
    """Time both kinds of frames on this machine, from decoded frame to label map, the look at thumbnails included.

    Medians, after one call of each that is not timed: a few seconds.

    Args:
        stream: the segmentor; its scheduler is not asked.
        image: (1, 3, H, W), a frame of the size to come.
        repeats: timed calls of each kind.
    """
    size = (image.shape[-2], image.shape[-1])
    _, state = stream.segment_key(image)
    seen = update_change(stream.resize(image), None, 0.0, -1.0)

    def segment() -> None:
        update_change(stream.resize(image), seen, 0.0, -1.0)
        prediction, key = stream.segment_key(image)
        StepResult(prediction, None, key, stream.map_size).semantic_map(size)

    def propagate() -> None:
        update_change(stream.resize(image), seen, 0.0, -1.0)
        stream.propagate_with_flow(image, state).semantic_map(size)

    return StepCosts(*_times(segment, propagate, repeats, state.image.device))


def _times(segment: Callable[[], None], propagate: Callable[[], None], repeats: int, device: torch.device) -> tuple[float, float]:
    taken: dict[Callable[[], None], list[float]] = {segment: [], propagate: []}
    for number in range(repeats + 1):
        for call, times in taken.items():
            synchronize(device)
            started = time.perf_counter()
            call()
            synchronize(device)
            if number:
                times.append(1e3 * (time.perf_counter() - started))
    return median(taken[segment]), median(taken[propagate])
