"""Batched inference of several streams with independent key frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from src.inference.frame_input import FrameInput
from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.streaming import StepResult, StreamingSegmentor
from src.structures import DisocclusionScores, FlowPrediction, KeyFrameState, MaskPrediction


@torch.inference_mode()
def step_streams(
    stream: StreamingSegmentor,
    images: Sequence[FrameInput],
    states: Sequence[KeyFrameState | None],
    schedulers: Sequence[KeyFrameScheduler] | None = None,
) -> list[StepResult]:
    """Advance several streams by one frame: key frames are segmented as one batch, the other frames propagated as one.

    Streams are independent: each has its own state and key frames, starts and ends at any time, and has its own size (each size
    is a separate batch). A single stream gives the bits of :meth:`StreamingSegmentor.predict`; several streams do as far as the
    networks compute each row of a batch as they compute it alone, since larger batches may be rounded differently. Compiled
    networks are recompiled for each new batch size. Millisecond budgets are not updated from batch times: they keep their first
    estimate of the costs.

    Args:
        stream: segmentor.
        images: the next frame of every stream, one image of :meth:`StreamingSegmentor.step` each.
        states: states returned by the previous call for the same streams; ``None`` for a stream that begins.
        schedulers: scheduler of each stream; ``None``: the segmentor's for all.

    Returns:
        One result per stream, with B = 1.

    Raises:
        ValueError: if images, states and schedulers differ in number, or see :meth:`StreamingSegmentor.predict`.
    """
    schedulers = [stream.scheduler] * len(images) if schedulers is None else schedulers
    if not len(images) == len(states) == len(schedulers):
        raise ValueError(
            f"found {len(images)} images, {len(states)} states and {len(schedulers)} schedulers; expected one of each per stream"
        )
    frames = [stream.resize(image) for image in images]
    if wrong := [tuple(frame.shape) for frame in frames if len(frame) != 1]:
        raise ValueError(f"a frame is {wrong[0]}; expected one image for each stream")
    decisions = [scheduler.decide(image, state) for scheduler, image, state in zip(schedulers, frames, states, strict=True)]
    propagated = {n: state for n, state in enumerate(states) if state is not None and decisions[n].reason is None}
    results: dict[int, StepResult] = {}
    for batch in _groups({n: (frames[n].shape, frames[n].dtype, state.image.shape) for n, state in propagated.items()}):
        numbers = [propagated[n].index + 1 for n in batch]
        together = _concatenate([propagated[n] for n in batch])
        batched = stream.propagate_resized(torch.cat([frames[n] for n in batch]), together, numbers)
        results |= {n: _propagated_row(batched, row, propagated[n]) for row, n in enumerate(batch)}
    for batch in _groups({n: (frame.shape, frame.dtype) for n, frame in enumerate(frames) if n not in propagated}):
        numbers = [0 if (state := states[n]) is None else state.index + 1 for n in batch]
        _, key = stream.segment_resized(torch.cat([frames[n] for n in batch]), numbers)
        for row, n in enumerate(batch):
            fresh = _key_row(key, row, frames[n], states[n])
            results[n] = StepResult(fresh.prediction, None, fresh, stream.map_size)
    ordered = [(results[n], decision) for n, decision in enumerate(decisions)]
    return [replace(one, state=replace(one.state, reason=made.reason, schedule=made.schedule)) for one, made in ordered]


def _groups(kinds: Mapping[int, object]) -> list[list[int]]:
    """Group streams whose frames fit into one batch."""
    groups: dict[object, list[int]] = {}
    for number, kind in kinds.items():
        groups.setdefault(kind, []).append(number)
    return list(groups.values())


def _concatenate(states: Sequence[KeyFrameState]) -> KeyFrameState:
    """Join the key frames of several streams into a batch; index and age are those of the first."""
    first = states[0]
    if len(states) == 1:
        return first
    predictions = [state.prediction for state in states]
    prediction = replace(
        first.prediction,
        class_logits_per_layer=torch.cat([p.class_logits_per_layer for p in predictions], dim=1),
        mask_logits_per_layer=torch.cat([p.mask_logits_per_layer for p in predictions], dim=1),
        queries=torch.cat([p.queries for p in predictions]),
    )
    features = [state.flow_features for state in states if state.flow_features is not None]
    together = tuple(torch.cat(level) for level in zip(*features, strict=True)) if features else None
    return replace(first, image=torch.cat([state.image for state in states]), prediction=prediction, flow_features=together)


def _propagated_row(batched: StepResult, row: int, old: KeyFrameState) -> StepResult:
    assert batched.flow is not None
    prediction, flow = _prediction_row(batched.prediction, row), _flow_row(batched.flow, row)
    return StepResult(prediction, flow, replace(old, index=old.index + 1, age=old.age + 1), batched.map_size)


def _key_row(batched: KeyFrameState, row: int, frame: Tensor, old: KeyFrameState | None) -> KeyFrameState:
    features = batched.flow_features and tuple(level[row : row + 1].clone() for level in batched.flow_features)
    index = 0 if old is None else old.index + 1
    return KeyFrameState(frame, _prediction_row(batched.prediction, row), index, age=0, flow_features=features)


def _prediction_row(prediction: MaskPrediction, row: int) -> MaskPrediction:
    # Copies, because a view would keep the key frames of all other streams in memory for the life of this stream.
    scores = prediction.disocclusion
    return replace(
        prediction,
        class_logits_per_layer=prediction.class_logits_per_layer[:, row : row + 1].clone(),
        mask_logits_per_layer=prediction.mask_logits_per_layer[:, row : row + 1].clone(),
        queries=prediction.queries[row : row + 1].clone(),
        disocclusion=scores and DisocclusionScores(scores.logits[row : row + 1].clone(), scores.weight[row : row + 1].clone()),
    )


def _flow_row(flow: FlowPrediction, row: int) -> FlowPrediction:
    def one(level: Tensor) -> Tensor:
        return level[row : row + 1]

    return replace(
        flow,
        segment_flow=one(flow.segment_flow),
        pixel_flows=tuple(one(level) for level in flow.pixel_flows),
        confidence=None if flow.confidence is None else one(flow.confidence),
        disocclusion_logits=None if flow.disocclusion_logits is None else one(flow.disocclusion_logits),
        sources=tuple(one(level) for level in flow.sources),
        detail=None if flow.detail is None else one(flow.detail),
    )
