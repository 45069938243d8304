"""Several streams at once that need not agree on their key frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from src.inference.scheduling.scheduler import Decision, KeyFrameScheduler
from src.inference.streaming import StepResult, StreamingSegmentor
from src.ops.masks import MapSize
from src.structures import DisocclusionScores, FlowPrediction, KeyFrameState, MaskPrediction


@torch.inference_mode()
def step_streams(
    stream: StreamingSegmentor,
    images: Sequence[Tensor],
    states: Sequence[KeyFrameState | None],
    schedulers: Sequence[KeyFrameScheduler] | None = None,
) -> list[StepResult]:
    """The next frame of several streams: those that need a key frame are segmented as one batch, the others propagated as one.

    Every stream has a state of its own and is decided for alone, as if there were no other; they may start and end at any time,
    and have different sizes (each size is a batch of its own). With one stream this is :meth:`StreamingSegmentor.predict` bit
    for bit, and so it is with several as far as the networks give each row of a batch what they give it alone; larger batches
    may be rounded differently. Compiled networks are compiled anew for each new batch size. Nobody tells a budget in
    milliseconds what a stream's part of a batch took: it stays at the costs that it was given.

    Args:
        stream: the segmentor.
        images: (3, H, W) each, RGB 0..255, the next frame of every stream.
        states: what the last call returned for the same streams; ``None`` where one begins.
        schedulers: of each stream, such as budgets for different sizes; ``None``: the segmentor's for all.

    Returns:
        One result per stream, with B = 1.

    Raises:
        ValueError: if images, states and schedulers differ in number, or see :meth:`StreamingSegmentor.predict`.
    """
    if len(images) != len(states):
        raise ValueError(f"{len(images)} images and {len(states)} states: expected one state, or None, per image")
    own = [stream.scheduler] * len(images) if schedulers is None else schedulers
    if len(own) != len(images):
        raise ValueError(f"{len(images)} images and {len(own)} schedulers: expected one scheduler per image")
    seen = [stream.resize(image[None]) for image in images]
    decisions = [scheduler.before(image, state) for scheduler, image, state in zip(own, seen, states, strict=True)]
    results: dict[int, StepResult] = {}
    going_on = {
        number: state
        for number, (state, decision) in enumerate(zip(states, decisions, strict=True))
        if state is not None and decision.reason is None
    }
    for batch in _groups(
        {number: (seen[number].shape, seen[number].dtype, state.image.shape) for number, state in going_on.items()}
    ):
        old = [going_on[number] for number in batch]
        done = stream.propagate_with_flow(torch.cat([seen[number] for number in batch]), _together(old))
        assert done.flow is not None
        for row, (number, state) in enumerate(zip(batch, old, strict=True)):
            prediction, flow = _prediction_row(done.prediction, row), _flow_row(done.flow, row)
            state = replace(state, index=state.index + 1, age=state.age + 1, reason=None, schedule=decisions[number].schedule)
            results[number] = StepResult(prediction, flow, state, stream.map_size)
    keys = [number for number in range(len(seen)) if number not in results]
    for batch in _groups({number: (seen[number].shape, seen[number].dtype) for number in keys}):
        prediction, key = stream.segment_key(torch.cat([seen[number] for number in batch]))
        for row, number in enumerate(batch):
            features = _rows(key.flow_features, row)
            own_key = replace(key, image=seen[number], prediction=_prediction_row(prediction, row), flow_features=features)
            results[number] = _segmented(own_key, states[number], decisions[number], stream.map_size)
    return [results[number] for number in range(len(seen))]


def _groups(kinds: Mapping[int, object]) -> list[list[int]]:
    """Numbers of one kind: only images of one size and type share a batch."""
    groups: dict[object, list[int]] = {}
    for number, kind in kinds.items():
        groups.setdefault(kind, []).append(number)
    return list(groups.values())


def _segmented(key: KeyFrameState, state: KeyFrameState | None, decision: Decision, map_size: MapSize) -> StepResult:
    index = 0 if state is None else state.index + 1
    state = replace(key, index=index, reason=decision.reason, schedule=decision.schedule)
    return StepResult(key.prediction, None, state, map_size)


def _together(states: Sequence[KeyFrameState]) -> KeyFrameState:
    """A batch of the key frames of several streams; its index and age are the first one's."""
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
    kept = [state.flow_features for state in states if state.flow_features is not None]
    features = tuple(torch.cat(level) for level in zip(*kept, strict=True)) if kept else None
    return replace(first, image=torch.cat([state.image for state in states]), prediction=prediction, flow_features=features)


def _rows(features: tuple[Tensor, ...] | None, row: int) -> tuple[Tensor, ...] | None:
    return None if features is None else tuple(level[row : row + 1].clone() for level in features)


def _prediction_row(prediction: MaskPrediction, row: int) -> MaskPrediction:
    # Copies, because a view would keep the key frames of all other streams in memory for as long as this one lives.
    scores = prediction.disocclusion
    return replace(
        prediction,
        class_logits_per_layer=prediction.class_logits_per_layer[:, row : row + 1].clone(),
        mask_logits_per_layer=prediction.mask_logits_per_layer[:, row : row + 1].clone(),
        queries=prediction.queries[row : row + 1].clone(),
        disocclusion=scores and DisocclusionScores(scores.logits[row : row + 1].clone(), scores.weight[row : row + 1].clone()),
    )


def _flow_row(flow: FlowPrediction, row: int) -> FlowPrediction:
    return replace(
        flow,
        segment_flow=flow.segment_flow[row : row + 1],
        pixel_flows=tuple(pixel_flow[row : row + 1] for pixel_flow in flow.pixel_flows),
        confidence=None if flow.confidence is None else flow.confidence[row : row + 1],
        disocclusion_logits=None if flow.disocclusion_logits is None else flow.disocclusion_logits[row : row + 1],
        sources=tuple(source[row : row + 1] for source in flow.sources),
        detail=None if flow.detail is None else flow.detail[row : row + 1],
    )
