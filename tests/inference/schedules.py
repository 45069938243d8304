"""Streams of images without a network: input and decisions of a scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from src.inference.scheduling.scheduler import KeyFrameScheduler, LatencyAwareScheduler
from src.structures import KeyFrameState, KeyReason, MaskPrediction
from tests.inference.tiny import frames

PREDICTION = MaskPrediction(torch.zeros(1, 1, 1, 3), torch.zeros(1, 1, 1, 8, 8), torch.zeros(1, 1, 4), (32, 32), (32, 32))


@dataclass(frozen=True)
class Schedule:
    """Decisions, frame by frame."""

    reasons: list[KeyReason | None]
    credits: list[float]

    @property
    def keys(self) -> list[int]:
        return [number for number, reason in enumerate(self.reasons) if reason is not None]


def run(
    scheduler: KeyFrameScheduler,
    images: list[Tensor],
    takes: Callable[[int, bool], float] | None = None,
) -> Schedule:
    """Run a scheduler over a stream, as StreamingSegmentor does; ``takes``: latency of a frame in ms, by index and kind."""
    state: KeyFrameState | None = None
    reasons: list[KeyReason | None] = []
    credits: list[float] = []
    for index, image in enumerate(images):
        decision = scheduler.decide(image[None], state)
        assert decision.reason is not None or state is not None
        reasons.append(decision.reason)
        credits.append(getattr(decision.schedule, "credit", 0.0))
        age = 0 if decision.reason is not None or state is None else state.age + 1
        state = KeyFrameState(image[None], PREDICTION, index, age, decision.reason, decision.schedule)
        if takes is not None:
            assert isinstance(scheduler, LatencyAwareScheduler)
            state = replace(state, schedule=scheduler.record_latency(state, takes(index, state.reason is not None)))
    return Schedule(reasons, credits)


def drift(count: int, seed: int = 0) -> list[Tensor]:
    """Even motion of two pixels a frame."""
    return frames(count, (64, 96), seed)


def cut_clip(lengths: tuple[int, ...]) -> list[Tensor]:
    """Shots of different scenes, each in even motion."""
    return [image for seed, length in enumerate(lengths) for image in drift(length, seed)]
