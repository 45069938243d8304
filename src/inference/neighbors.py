"""Labelling of frames from several key frames: masks are carried from each, and fused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor

from src.inference.batches import concatenate_states, flow_row, prediction_row
from src.inference.frame_networks import FrameNetworks
from src.inference.step_result import StepResult
from src.models.fusion import FusionRule, Source, fuse
from src.structures import FlowPrediction, KeyFrameState, MaskPrediction

_MAX_PAIRS = 4  # of a batch: bounds memory


@dataclass(frozen=True)
class Target:
    """Frame to label from key frames around it.

    Attributes:
        image: (1, 3, H, W), the frame at network size.
        state: state of the stream after the frame.
        keys: key frames whose masks are carried to the frame, in time order.
        own: the frame's own prediction; ``None`` for a non-key frame, which has at least one key.
    """

    image: Tensor
    state: KeyFrameState
    keys: tuple[KeyFrameState, ...]
    own: MaskPrediction | None = None


def target_batches(targets: Sequence[Target]) -> Iterator[Sequence[Target]]:
    """Split targets into consecutive ones of one size whose pairs of frame and key frame run as one batch."""
    first = 0
    while first < len(targets):
        last, pairs = first, 0
        while last < len(targets) and targets[last].image.shape == targets[first].image.shape:
            pairs += len(targets[last].keys)
            if last > first and pairs > _MAX_PAIRS:
                break
            last += 1
        yield targets[first:last]
        first = last


@torch.inference_mode()
def label_targets(networks: FrameNetworks, targets: Sequence[Target], rule: FusionRule) -> Iterator[StepResult]:
    """Carry masks to the targets of one of :func:`target_batches` and fuse them; results are in order.

    Accelerators run the pairs as one batch, which may be rounded differently than single pairs.
    """
    pairs = [(target, key) for target in targets for key in target.keys]
    several = any(len(target.keys) + (target.own is not None) > 1 for target in targets)
    # One source needs no weight.
    read: FusionRule = rule if several else "linear"
    # On a CPU, joining the masks of several pairs takes longer than a batch saves.
    batches = [[pair] for pair in pairs] if targets[0].image.device.type == "cpu" else [pairs] if pairs else []
    carried = iter([row for batch in batches for row in _carry(networks, batch, read)])
    for target in targets:
        sources, flows = [], []
        for key in target.keys:
            prediction, trust, flow = next(carried)
            distance = abs(target.state.index - key.key_index)
            sources.append((key.key_index, Source(prediction, distance, trust)))
            flows.append((distance if rule == "nearest" else 0, flow))
        if target.own is not None:
            certain = torch.ones_like(target.image[:, 0], dtype=torch.float32)
            sources.append((target.state.index, Source(target.own, 0, certain)))
            sources.sort(key=lambda source: source[0])
        offsets = tuple(index - target.state.index for index, _ in sources)
        fused = fuse([source for _, source in sources], rule)
        # The flow of the first of fused predictions, or of the only one kept.
        flow_of_masks = min(flows, key=itemgetter(0))[1] if target.own is None else None
        yield StepResult(fused, flow_of_masks, target.state, networks.map_size, offsets)


def _carry(
    networks: FrameNetworks, pairs: Sequence[tuple[Target, KeyFrameState]], rule: FusionRule
) -> list[tuple[MaskPrediction, Tensor, FlowPrediction]]:
    """Carry the masks of each pair's key frame to its target; return masks, confidence and flow, with B = 1."""
    images = torch.cat([target.image for target, _ in pairs])
    keys = concatenate_states([key for _, key in pairs])
    carried = networks.propagate_resized(images, keys, [target.state.index for target, _ in pairs])
    assert carried.flow is not None
    trust = networks.propagator.confidence(rule, keys.prediction, keys.image, carried.prediction, images, carried.flow)
    if len(pairs) == 1:
        return [(carried.prediction, trust, carried.flow)]
    rows = range(len(pairs))
    return [(prediction_row(carried.prediction, n), trust[n : n + 1], flow_row(carried.flow, n)) for n in rows]
