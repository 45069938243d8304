"""How much of the saved work is saved time: our frames beside plain transformers and the published way, in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from src.measure.latency import Timing, time_in_turn
from src.measure.memory import peak_memory_mib
from src.measure.parts import Stream, part_costs, part_times
from src.measure.roofline import floor_ms, matrix_product
from src.measure.transformers_baseline import PlainMask2Former, full_size_scores, nonkey_map_by_reference
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor

Row = dict[str, Any]

FRAMES = {
    "plain": "plain transformers, its own post-processing",
    "plain_full_size": "plain transformers, the paper's post-processing",
    "per_frame": "ours, a key frame",
    "reference_nonkey": "a non-key frame as published (ten warps, full-size sum)",
    "reference_nonkey_our_flow": "the same, its flow as fast as ours",
    "nonkey": "ours, a non-key frame",
}
"""What is timed frame by frame, and its words for the screen."""


@dataclass(frozen=True)
class SpeedPlan:
    """What is timed, and how often.

    Attributes:
        warmup: untimed calls of each frame's kind.
        repeats: timed ones; also of the parts.
        clip_repeats: timed runs of each clip.
        what: some of ``frames``, ``clips``, ``parts``.
    """

    warmup: int = 1
    repeats: int = 5
    clip_repeats: int = 1
    what: Sequence[str] = ("frames", "clips", "parts")

    def __post_init__(self) -> None:
        unknown = sorted(set(self.what) - {"frames", "clips", "parts"})
        if unknown or not self.what:
            raise ValueError(f"measure {list(self.what)}: expected some of frames, clips, parts")


def measure_speed(propagator: Propagator, streams: Mapping[int, Stream], frames: Sequence[Tensor], plan: SpeedPlan) -> Row:
    """Everything that ``what=speed`` writes but the machine's description.

    Args:
        propagator: with a Mask2Former segmentor, what transformers has to compare with.
        streams: of that propagator, by key interval; 1 is every frame segmented anew.
        frames: (1, 3, H, W) uint8 each, a clip of at least two frames; the first two are the key and the non-key frame.
        plan: what is timed, and how often.

    Returns:
        ``gmacs_per_s`` and, as far as planned: ``frames_ms``, ``clips_ms`` (per frame), ``ratios``, ``peak_memory_mib``,
        ``equal`` (our maps beside the plain ones) and ``parts``.

    Raises:
        ValueError: if the segmentor is another one, or there are fewer than two frames.
    """
    if not isinstance(propagator.segmentor, Mask2FormerSegmentor):
        raise ValueError(
            f"segmentor is a {type(propagator.segmentor).__name__}; only Mask2Former is compared with transformers' own"
        )
    if len(frames) < 2:
        raise ValueError(f"a clip of {len(frames)} frames; expected at least 2")
    device = next(propagator.parameters()).device
    frames = [frame.to(device) for frame in frames]
    product = matrix_product(device)
    stream = max(streams.items())[1] if max(streams) > 1 else None
    row: Row = {"frames_ms": {}, "clips_ms": {}}
    timings: dict[str, Timing] = {}
    if "frames" in plan.what:
        plain = PlainMask2Former(propagator.segmentor)
        calls = _frame_calls(propagator, plain, streams[1], stream, frames)
        timings = time_in_turn({**calls, "product": product.call}, plan.warmup, plan.repeats)
        row["frames_ms"] = {name: _spread(timings[name]) for name in calls}
        row["peak_memory_mib"] = {name: peak_memory_mib(call, device) for name, call in calls.items()}
        row["equal"] = compare_maps(propagator.segmentor, plain, streams[1], frames[0])
        # Freed before the clips, whose memory would otherwise hold a second network.
        del plain, calls
    if "clips" in plan.what:
        clips = {k: partial(_run_clip, one, frames) for k, one in sorted(streams.items())}
        clip_timings = time_in_turn(clips, 0 if timings else 1, plan.clip_repeats)
        row["clips_ms"] = {str(k): _spread(timing, len(frames)) for k, timing in clip_timings.items()}
    timings["product"] = time_in_turn({"product": product.call}, 2, 9)["product"] if not timings else timings["product"]
    row["gmacs_per_s"] = product.rate(timings["product"].median_ms)
    if "parts" in plan.what and stream is not None:
        times = part_times(propagator, stream, frames[0], frames[1], plan.warmup, plan.repeats)
        row["parts"] = _part_rows(times, part_costs(propagator, (frames[0].shape[-2], frames[0].shape[-1])), row["gmacs_per_s"])
    return {**row, "ratios": ratios(row)}


def ratios(row: Row) -> dict[str, float | None]:
    """How many times as fast, as far as both sides were timed; ``None`` elsewhere."""
    frames = {name: entry["median"] for name, entry in row["frames_ms"].items()}
    clips = {f"k{k}": entry["median"] for k, entry in row["clips_ms"].items()}
    times = {**frames, **clips}

    def ratio(slow: str, fast: str) -> float | None:
        return times[slow] / times[fast] if slow in times and fast in times else None

    return {
        "per_frame_vs_transformers": ratio("plain", "per_frame"),
        "per_frame_vs_transformers_full_size": ratio("plain_full_size", "per_frame"),
        "nonkey_vs_reference": ratio("reference_nonkey", "nonkey"),
        "nonkey_vs_reference_our_flow": ratio("reference_nonkey_our_flow", "nonkey"),
        "clip_k5_vs_per_frame": ratio("k1", "k5"),
        "clip_k5_vs_transformers": ratio("plain", "k5"),
        "clip_k5_vs_transformers_full_size": ratio("plain_full_size", "k5"),
    }


@torch.inference_mode()
def compare_maps(segmentor: Mask2FormerSegmentor, plain: PlainMask2Former, stream: Stream, image: Tensor) -> Row:
    """Our label map of a frame beside that of plain transformers with full-size post-processing.

    Two networks that differ by float rounding give scores that differ by it; a pixel may take another class only where its two
    best scores are closer than twice that.

    Returns:
        ``pixels``, ``different``, of these ``near_ties``, and ``unexcused``, the rest; ``score_deviation``, the largest
        difference of two scores; ``logit_deviation``, that of two mask logits.
    """
    theirs, ours = plain.predict(image), segmentor(image)
    scores = full_size_scores(theirs)
    deviation = float((full_size_scores(ours.final_layer()) - scores).abs().max())
    best = scores.topk(2, dim=1)
    different = stream.step(image, None)[0] != best.indices[:, 0]
    excused = different & (best.values[:, 0] - best.values[:, 1] <= 2 * max(deviation, torch.finfo(scores.dtype).eps))
    return {
        "pixels": different.numel(),
        "different": int(different.sum()),
        "near_ties": int(excused.sum()),
        "unexcused": int((different & ~excused).sum()),
        "score_deviation": deviation,
        "logit_deviation": float((ours.mask_logits - theirs.mask_logits).abs().max()),
    }


def _frame_calls(
    propagator: Propagator, plain: PlainMask2Former, per_frame: Stream, stream: Stream | None, frames: Sequence[Tensor]
) -> dict[str, Callable[[], object]]:
    first, second = frames[:2]
    calls: dict[str, Callable[[], object]] = {
        "plain": lambda: plain.map_by_transformers(first),
        "plain_full_size": lambda: plain.map_at_full_size(first),
        "per_frame": lambda: per_frame.step(first, None),
    }
    if stream is not None:
        key = plain.predict(first)
        state = replace(stream.step(first, None)[1])
        calls["reference_nonkey"] = lambda: nonkey_map_by_reference(key, first, second, propagator.flow, plain_flow=True)
        calls["reference_nonkey_our_flow"] = lambda: nonkey_map_by_reference(key, first, second, propagator.flow)
        calls["nonkey"] = lambda: stream.step(second, state)
    return calls


def _run_clip(stream: Stream, frames: Sequence[Tensor]) -> None:
    state = None
    for frame in frames:
        _, state = stream.step(frame, state)


def _part_rows(times: Mapping[str, float], costs: Mapping[str, float], rate: float) -> list[Row]:
    return [{"name": name, "ms": times[name], "gmacs": cost, "floor_ms": floor_ms(cost, rate)} for name, cost in costs.items()]


def _spread(timing: Timing, calls: int = 1) -> dict[str, float]:
    return {"median": timing.median_ms / calls, "p10": timing.p10 / calls, "p90": timing.p90 / calls}
