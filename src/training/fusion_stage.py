"""Training of the fusion head, which weighs what several key frames carry to one frame."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.losses.fusion import FusionLoss
from src.models.flow import FlowBranch
from src.models.fusion import Source, fuse
from src.models.propagator import Propagator
from src.structures import FlowPrediction, MaskPrediction, PairBatch
from src.training.stages import StagePrediction, Terms


class FusionStage(nn.Module):
    """Fusion head on triplets: the key frames before and after carry their masks to the labelled frame; all else is frozen.

    The loss is that of the fused prediction, without (``fused``) and with the frame's own prediction (``fused_key``), as of a
    fused key frame. Pairs have a single carried prediction, so only ``fused_key`` trains on them.

    Args:
        loss: loss of a fused prediction.
        trainable: names of the trainable parts.
    """

    def __init__(self, loss: FusionLoss, trainable: Sequence[str] = ("flow.fusion",)) -> None:
        super().__init__()
        self.loss = loss
        self.trainable = tuple(trainable)
        self.unsupervised: tuple[FlowBranch, ...] = ()

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Compute the cross-entropy of the fused predictions."""
        sources, _ = _carried(model, batch)
        with torch.no_grad():
            own = model.segmentor(batch.nonkey_image).final_layer()
        fused_key = fuse([*sources, Source(own, 0, model.own_confidence("learned", batch.nonkey_image))], "learned")
        predictions = {"fused_key": fused_key} | ({"fused": fuse(sources, "learned")} if len(sources) > 1 else {})
        return {name: self.loss(one, batch.nonkey_label, batch.sample_id) for name, one in predictions.items()}

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """Fuse what the key frames carry; the flow and the key frame of the result are those before the frame."""
        sources, first = _carried(model, batch)
        return StagePrediction(fuse(sources, "learned"), *first)


def _carried(model: Propagator, batch: PairBatch) -> tuple[list[Source], tuple[FlowPrediction, MaskPrediction]]:
    """Return the carried predictions in time order; and the flow from the first key frame, and its prediction."""
    frames: list[tuple[Tensor, Tensor]] = [(batch.key_image, batch.offset)]
    if batch.after_image is not None and batch.after_offset is not None:
        frames.append((batch.after_image, batch.after_offset))
    sources, outcomes = [], []
    for image, offset in frames:
        with torch.no_grad():
            key = model.segmentor(image).final_layer()
            carried, flow = model.propagate(key, image, batch.nonkey_image)
        trust = model.confidence("learned", key, image, carried, batch.nonkey_image, flow)
        # Offset 0: made from a still, as far before as after.
        sources.append(Source(carried, offset.abs().clamp(min=1), trust))
        outcomes.append((flow, key))
    return sources, outcomes[0]
