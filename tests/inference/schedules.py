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


def textured(height: int, width: int, seed: int = 0) -> Tensor:
    """A still picture with detail at all scales, (3, height, width) uint8."""
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.rand(1, 1, height // side + 2, width // side + 2, generator=generator) - 0.5 for side in (4, 8, 16, 32)]
    picture = sum(torch.nn.functional.interpolate(one, size=(height, width), mode="bilinear") for one in layers)
    return (128 + 90 * picture[0]).clamp(0, 255).byte().expand(3, -1, -1)


def crossing(frames: int = 20, share: float = 0.7, speed: int = 24) -> list[Tensor]:
    """A large object that crosses a slowly panned scene of 64 x 96 pixels in a few frames, first seen in frame 10.

    Args:
        frames: length of the clip.
        share: height of the object relative to the picture; it is as wide as the picture is.
        speed: pixels a frame.
    """
    scene, car = textured(64, 96 + frames, seed=1), textured(64, 96, seed=2)
    rows, found = round(share * 64), []
    for number in range(frames):
        image = scene[..., number : number + 96].clone()
        left = 96 - speed * (number - 9)
        first, last = max(left, 0), min(left + 96, 96)
        if first < last:
            image[:, 64 - rows :, first:last] = car[:, 64 - rows :, first - left : last - left]
        found.append(image)
    return found
