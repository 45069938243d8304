"""Speed benchmark (``what=speed``): our frames timed in turn with transformers and with the published code's non-key frame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from src.files.tables import Row
from src.measure.latency import Timing, time_in_turn
from src.measure.memory import peak_memory_mib
from src.measure.parts import Stream, part_costs, part_times
from src.measure.transformers_baseline import TransformersMask2Former, full_size_scores, nonkey_map_by_reference
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor

FRAMES = {
    "transformers": "transformers, its own post-processing",
    "transformers_full_size": "transformers, the paper's post-processing",
    "per_frame": "our key frame",
    "reference_nonkey": "non-key frame of the published code (ten warps, full-size sum)",
    "reference_nonkey_our_flow": "the same with our inference flow",
    "nonkey": "our non-key frame",
    "offline_nonkey": "our non-key frame from both key frames",
    "fused_key": "our key frame, fused with the one before",
    "offline_fused_key": "our key frame, fused with those before and after",
    "per_frame_eager": "our key frame in eager torch",
    "nonkey_eager": "our non-key frame in eager torch",
    "openvino_alone": "the key frame's network in OpenVINO, full-size post-processing",
    "onnx_alone": "the key frame's network in ONNX Runtime, full-size post-processing",
    "graph_alone": "the key frame's network as a CUDA graph, full-size post-processing",
}
"""Timed calls of single frames -> their titles in tables. The last eight are those of :func:`measure_speed`'s argument."""

_RATIOS = {
    "per_frame_vs_transformers": ("transformers", "per_frame"),
    "per_frame_vs_transformers_full_size": ("transformers_full_size", "per_frame"),
    "nonkey_vs_reference": ("reference_nonkey", "nonkey"),
    "nonkey_vs_reference_our_flow": ("reference_nonkey_our_flow", "nonkey"),
    "nonkey_vs_offline_nonkey": ("offline_nonkey", "nonkey"),
    "per_frame_vs_fused_key": ("fused_key", "per_frame"),
    "per_frame_vs_offline_fused_key": ("offline_fused_key", "per_frame"),
    "per_frame_vs_eager": ("per_frame_eager", "per_frame"),
    "nonkey_vs_eager": ("nonkey_eager", "nonkey"),
    "clip_k5_vs_per_frame": ("k1", "k5"),
    "clip_k5_vs_openvino": ("openvino_alone", "k5"),
    "clip_k5_vs_onnx": ("onnx_alone", "k5"),
    "clip_k5_vs_graph": ("graph_alone", "k5"),
    "clip_k5_vs_transformers": ("transformers", "k5"),
    "clip_k5_vs_transformers_full_size": ("transformers_full_size", "k5"),
}
PRODUCT_MULTIPLY_ADDS = 4 * 1024**3
"""Multiply-adds of :func:`matrix_product`."""


@dataclass(frozen=True)
class SpeedPlan:
    """Measurements (``what``), numbers of untimed and timed calls of each frame and part, and of timed runs of each clip."""

    warmup: int = 1
    repeats: int = 5
    clip_repeats: int = 1
    what: Sequence[str] = ("frames", "clips", "parts")

    def __post_init__(self) -> None:
        unknown = sorted(set(self.what) - {"frames", "clips", "parts"})
        if unknown or not self.what:
            raise ValueError(f"measure is {list(self.what)}; expected some of frames, clips, parts")


def measure_speed(
    propagator: Propagator,
    streams: Mapping[int, Stream],
    frames: Sequence[Tensor],
    plan: SpeedPlan,
    fused: Mapping[str, Callable[[], object]] = MappingProxyType({}),
) -> Row:
    """Measure a row of ``what=speed``, without the description of the machine.

    Args:
        propagator: network with a Mask2Former segmentor, the one that transformers implements too.
        streams: streams of that propagator by key interval; 1 segments every frame.
        frames: (1, 3, H, W) uint8 each, a clip of at least two frames; the first two are the key and the non-key frame.
        plan: measurements and their numbers of calls.
        fused: calls of frames that are fused from several key frames, by names of ``FRAMES``, timed in turn with the others.

    Returns:
        ``gmacs_per_s`` and, as planned: ``frames_ms``, ``clips_ms`` (per frame), ``ratios``, ``peak_memory_mib``, ``equal`` (our
        label map beside that of transformers) and ``parts``.
    """
    if not isinstance(propagator.segmentor, Mask2FormerSegmentor):
        raise ValueError(
            f"segmentor is a {type(propagator.segmentor).__name__}; expected Mask2Former, which transformers implements too"
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
        baseline = TransformersMask2Former(propagator.segmentor)
        calls = {**_frame_calls(propagator, baseline, streams[1], stream, frames), **fused}
        timings = time_in_turn({**calls, "product": product}, plan.warmup, plan.repeats)
        row["frames_ms"] = {name: _spread(timings[name]) for name in calls}
        row["peak_memory_mib"] = {name: peak_memory_mib(call, device) for name, call in calls.items()}
        row["equal"] = compare_maps(propagator.segmentor, baseline, streams[1], frames[0])
        # Freed before the clips, so that their memory does not contain a second network.
        del baseline, calls
    if "clips" in plan.what:
        clips = {k: partial(_run_clip, one, frames) for k, one in sorted(streams.items())}
        clip_timings = time_in_turn(clips, 0 if timings else 1, plan.clip_repeats)
        row["clips_ms"] = {str(k): _spread(timing, len(frames)) for k, timing in clip_timings.items()}
    timing = timings["product"] if timings else time_in_turn({"product": product}, 2, 9)["product"]
    row["gmacs_per_s"] = PRODUCT_MULTIPLY_ADDS / timing.median_ms / 1e6
    if "parts" in plan.what and stream is not None:
        times = part_times(propagator, stream, frames[0], frames[1], plan.warmup, plan.repeats)
        gmacs = part_costs(propagator, (frames[0].shape[-2], frames[0].shape[-1]))
        # The roofline is the time of the multiply-adds at the rate of matrix products.
        row["parts"] = [
            {"name": name, "ms": times[name], "gmacs": cost, "roofline_ms": 1e3 * cost / row["gmacs_per_s"]}
            for name, cost in gmacs.items()
        ]
    return {**row, "ratios": ratios(row)}


def runtime_calls(stream: Stream, eager: Stream, frames: Sequence[Tensor], runtime: str) -> dict[str, Callable[[], object]]:
    """Return calls that compare a stream's runtime with eager torch, and with the runtime as used without this project."""
    first, second = frames[:2]
    # The first frames prepare the runtime and compare its results.
    state = stream.step(first, None)[1]
    stream.step(second, state)
    return {
        "per_frame_eager": lambda: eager.step(first, None),
        "nonkey_eager": lambda: eager.step(second, state),
        f"{runtime}_alone": lambda: full_size_scores(stream.predict(first, None).prediction).argmax(1),
    }


def matrix_product(device: torch.device) -> Callable[[], object]:
    """Return four products of square matrices, large enough to reach the machine's rate and small enough for its caches."""
    a, b = (torch.randn(1024, 1024, device=device) for _ in range(2))
    out = torch.empty_like(a)

    @torch.inference_mode()
    def call() -> None:
        for _ in range(4):
            torch.mm(a, b, out=out)

    return call


def ratios(row: Row) -> dict[str, float | None]:
    """Compute speed ratios of median times; ``None`` where one side was not timed."""
    entries = {**row["frames_ms"], **{f"k{k}": entry for k, entry in row["clips_ms"].items()}}
    times = {name: entry["median"] for name, entry in entries.items()}
    return {
        name: times[slow] / times[fast] if slow in times and fast in times else None for name, (slow, fast) in _RATIOS.items()
    }


@torch.inference_mode()
def compare_maps(segmentor: Mask2FormerSegmentor, baseline: TransformersMask2Former, stream: Stream, image: Tensor) -> Row:
    """Compare our label map of a frame with that of transformers with full-size post-processing.

    Float rounding makes the scores of the two networks deviate; a pixel may take another class only where its two best scores
    are closer than twice the largest deviation.

    Returns:
        ``pixels``; ``different`` ones, of these ``near_ties``, and ``unexcused``, the rest; ``score_deviation``, the largest
        difference of scores; ``logit_deviation``, the largest difference of mask logits.
    """
    theirs, ours = baseline.predict(image), segmentor(image)
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
    propagator: Propagator, baseline: TransformersMask2Former, per_frame: Stream, stream: Stream | None, frames: Sequence[Tensor]
) -> dict[str, Callable[[], object]]:
    first, second = frames[:2]
    calls: dict[str, Callable[[], object]] = {
        "transformers": lambda: baseline.map_by_transformers(first),
        "transformers_full_size": lambda: baseline.map_at_full_size(first),
        "per_frame": lambda: per_frame.step(first, None),
    }
    if stream is not None:
        key = baseline.predict(first)
        state = replace(stream.step(first, None)[1])
        calls["reference_nonkey"] = lambda: nonkey_map_by_reference(key, first, second, propagator.flow, layer_by_layer=True)
        calls["reference_nonkey_our_flow"] = lambda: nonkey_map_by_reference(key, first, second, propagator.flow)
        calls["nonkey"] = lambda: stream.step(second, state)
    return calls


def _run_clip(stream: Stream, frames: Sequence[Tensor]) -> None:
    state = None
    for frame in frames:
        _, state = stream.step(frame, state)


def _spread(timing: Timing, calls: int = 1) -> dict[str, float]:
    return {"median": timing.median_ms / calls, "p10": timing.p10 / calls, "p90": timing.p90 / calls}
