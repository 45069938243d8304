"""Batches of streams: joined states, and rows of batched results."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from src.inference.step_result import StepResult
from src.structures import DisocclusionScores, FlowPrediction, KeyFrameState, MaskPrediction, PixelRead


def groups(kinds: Mapping[int, object]) -> list[list[int]]:
    """Group streams whose frames fit into one batch."""
    groups: dict[object, list[int]] = {}
    for number, kind in kinds.items():
        groups.setdefault(kind, []).append(number)
    return list(groups.values())


def concatenate_states(states: Sequence[KeyFrameState]) -> KeyFrameState:
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
        windows=(),
        memory=None,
    )
    features = [state.flow_features for state in states if state.flow_features is not None]
    together = tuple(torch.cat(level) for level in zip(*features, strict=True)) if features else None
    return replace(first, image=torch.cat([state.image for state in states]), prediction=prediction, flow_features=together)


def propagated_row(batched: StepResult, row: int, old: KeyFrameState) -> StepResult:
    """Return the result of the stream in ``row`` of a batch of propagated frames; ``old`` is its state before the frame."""
    assert batched.flow is not None
    prediction, flow = prediction_row(batched.prediction, row), flow_row(batched.flow, row)
    state = replace(old, index=old.index + 1, age=old.age + 1)
    return StepResult(prediction, flow, state, batched.map_size, (-state.age,))


def key_row(batched: KeyFrameState, row: int, frame: Tensor, old: KeyFrameState | None) -> KeyFrameState:
    """Return the state of the stream in ``row`` of a batch of key frames; ``old`` is its state before the frame."""
    features = batched.flow_features and tuple(level[row : row + 1].clone() for level in batched.flow_features)
    index = 0 if old is None else old.index + 1
    return KeyFrameState(frame, prediction_row(batched.prediction, row), index, age=0, flow_features=features)


def prediction_row(prediction: MaskPrediction, row: int) -> MaskPrediction:
    """Return a copy of one row of a batch, with B = 1."""
    # Copies, because a view would keep the key frames of all other streams in memory for the life of this stream.
    scores, rows = prediction.disocclusion, slice(row, row + 1)
    return replace(
        prediction,
        class_logits_per_layer=prediction.class_logits_per_layer[:, row : row + 1].clone(),
        mask_logits_per_layer=prediction.mask_logits_per_layer[:, row : row + 1].clone(),
        queries=prediction.queries[row : row + 1].clone(),
        memory=None if prediction.memory is None else prediction.memory[rows].clone(),
        windows=tuple(replace(one, prediction=prediction_row(one.prediction, row)) for one in prediction.windows),
        pixel_reads=tuple(
            read and PixelRead(read.mask_logits[rows].clone(), read.flow[rows].clone()) for read in prediction.pixel_reads
        ),
        disocclusion=scores and DisocclusionScores(scores.logits[row : row + 1].clone(), scores.weight[row : row + 1].clone()),
    )


def flow_row(flow: FlowPrediction, row: int) -> FlowPrediction:
    """Return a view of one row of a batch, with B = 1."""

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
