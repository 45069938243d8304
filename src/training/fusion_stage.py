"""Training of the fusion head, which weighs what several key frames carry to one frame."""

from collections.abc import Sequence

import torch
from torch import nn

from src.data.samples import PairBatch
from src.losses.fusion import FusionLoss
from src.models.flow import FlowBranch
from src.models.fusion import Source, fuse
from src.models.propagator import Propagator
from src.structures import FlowPrediction, MaskPrediction
from src.training.stages import StagePrediction, Terms


class FusionStage(nn.Module):
    """Fusion head on triplets: the key frames before and after carry their masks to the labelled frame; all else is frozen.

    The frame's own prediction takes no part: it is better on the frames that trained the segmentor than on others, and weights
    learned beside it would rely on that.

    Args:
        loss: loss of a fused prediction.
        trainable: names of the trainable parts.
    """

    recurrent = False

    def __init__(self, loss: FusionLoss, trainable: Sequence[str] = ("flow.fusion",)) -> None:
        super().__init__()
        self.loss = loss
        self.trainable = tuple(trainable)
        self.unsupervised: tuple[FlowBranch, ...] = ()

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Compute the cross-entropy of the fused prediction.

        Raises:
            ValueError: if the batch has pairs.
        """
        sources, _ = _carried(model, batch)
        return {"fused": self.loss(fuse(sources, "learned"), batch.nonkey_label, batch.sample_id)}

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """Fuse what the key frames carry; the flow and the key frame of the result are those before the frame."""
        sources, first = _carried(model, batch)
        return StagePrediction(fuse(sources, "learned"), *first)


def _carried(model: Propagator, batch: PairBatch) -> tuple[list[Source], tuple[FlowPrediction, MaskPrediction]]:
    """Return the carried predictions in time order; and the flow from the first key frame, and its prediction."""
    if batch.after_image is None or batch.after_offset is None:
        raise ValueError(
            f"{batch.names[0]} has one key frame; expected two, before and after the frame; choose triplets, "
            "stage.sampling=${data.triplet_sampling}"
        )
    frames = ((batch.key_image, batch.offset), (batch.after_image, batch.after_offset))
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
