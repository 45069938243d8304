"""Multiply-adds and times of the parts of key and non-key frames."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from src.measure.cost import frame_cost, without_data
from src.measure.counting import count_multiply_adds
from src.models.propagator import Propagator
from src.ops.device import milliseconds, synchronize
from src.structures import KeyFrameState, MaskPrediction, Size

_SEGMENTOR_PARTS = ("backbone", "pixel_decoder", "transformer_decoder")


class Step(Protocol):
    """Result of a stream for a frame, before post-processing."""

    @property
    def prediction(self) -> MaskPrediction:
        """Masks and classes, final layer."""

    @property
    def state(self) -> KeyFrameState:
        """State for the next frame."""

    def semantic_map(self, size: Size) -> Tensor:
        """Compute classes (B, H, W)."""


class Stream(Protocol):
    """Interface of a timed streaming segmentor."""

    def step(self, image: Tensor, state: KeyFrameState | None) -> tuple[Tensor, KeyFrameState]:
        """Return classes (B, H, W) of a frame and the next state."""

    def predict(self, image: Tensor, state: KeyFrameState | None) -> Step:
        """Predict a frame without post-processing."""


def timed_modules(propagator: Propagator) -> dict[str, nn.Module]:
    """Return the timed modules by name: the segmentor's networks, and the flow estimator's children or itself."""
    nested = propagator.segmentor.parts()
    parts = {f"key: {name}": nested[name] for name in _SEGMENTOR_PARTS if name in nested}
    children = {name: child for name, child in propagator.flow.named_children() if not isinstance(child, nn.Identity)}
    for name, child in (children or {"estimator": propagator.flow}).items():
        parts[f"non-key: flow, {name}"] = child
    return parts


def part_costs(propagator: Propagator, size: Size) -> dict[str, float]:
    """Count 1e9 multiply-adds of every part like :func:`src.measure.cost.frame_cost`, without inference fast paths.

    The parts are the :func:`timed_modules`, ``key: other``, ``non-key: warp and other`` and ``post-processing``.
    """
    total = frame_cost(propagator, size)
    counts: defaultdict[str, int] = defaultdict(int)
    with without_data(propagator) as shadow:
        for name, module in timed_modules(shadow).items():
            module.forward = _counted(module.forward, name, counts)
        with torch.no_grad():
            image = torch.empty(1, 3, *size, device="cpu")
            key = shadow.segmentor(image).final_layer()
            if not shadow.flow.training_free:
                shadow.propagate(key, image, image)
    costs = {name: counts[name] / 1e9 for name in timed_modules(propagator)}
    for kind, whole, rest in (("key", total.key, "key: other"), ("non-key", total.propagate, "non-key: warp and other")):
        costs[rest] = max(0.0, whole - sum(cost for name, cost in costs.items() if name.startswith(f"{kind}: ")))
    return {**costs, "post-processing": total.post}


def part_times(
    propagator: Propagator, stream: Stream, key_image: Tensor, nonkey_image: Tensor, warmup: int, repeats: int
) -> dict[str, float]:
    """Measure median milliseconds of every part of :func:`part_costs` within whole frames.

    Each round times a key and a non-key frame, (1, 3, H, W), of a stream with a key interval of at least 2.
    """
    times: defaultdict[str, list[float]] = defaultdict(list)
    size = (key_image.shape[-2], key_image.shape[-1])
    for number in range(warmup + repeats):
        with module_times(timed_modules(propagator)) as inside, torch.inference_mode():
            key_ms, step = milliseconds(lambda: stream.predict(key_image, None))
            nonkey_ms, propagated = milliseconds(lambda step=step: stream.predict(nonkey_image, step.state))  # type: ignore[misc]
            post_ms, _ = milliseconds(lambda propagated=propagated: propagated.semantic_map(size))  # type: ignore[misc]
        if number < warmup:
            continue
        for name, ms in inside.items():
            times[name].append(ms)
        for kind, whole, rest in (("key", key_ms, "key: other"), ("non-key", nonkey_ms, "non-key: warp and other")):
            times[rest].append(whole - sum(ms for name, ms in inside.items() if name.startswith(f"{kind}: ")))
        times["post-processing"].append(post_ms)
    return {name: median(values) for name, values in times.items()}


def _counted(forward: Callable[..., Any], name: str, counts: defaultdict[str, int]) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        result, count = count_multiply_adds(lambda: forward(*arguments, **options))
        counts[name] += count
        return result

    return counted


@contextmanager
def module_times(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, float]]:
    """Yield the milliseconds spent in each module, accumulated by name within the context."""
    inside = dict.fromkeys(modules, 0.0)
    starts: dict[str, float] = {}

    def before(name: str) -> None:
        synchronize()
        starts[name] = time.perf_counter()

    def after(name: str) -> None:
        synchronize()
        inside[name] += (time.perf_counter() - starts[name]) * 1e3

    handles = []
    for name, module in modules.items():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: before(name)))
        handles.append(module.register_forward_hook(lambda *_, name=name: after(name)))
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()
