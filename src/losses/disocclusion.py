"""Loss of the disocclusion head, which classifies what becomes visible in the non-key frame."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.device import full_precision
from src.ops.warp import disoccluded
from src.structures import IGNORE_INDEX, FlowPrediction


class DisocclusionLoss(nn.Module):
    """Cross-entropy of the disocclusion head with the non-key frame's label, weighted up where the confidence is low.

    Args:
        weight: factor of the loss, at least 0.
        disoccluded_factor: extra weight, at least 0, of a pixel without a source in the key frame. Inference reads the head only
            there, but such pixels are too few to learn classes from, so all pixels count.
    """

    def __init__(self, weight: float = 0.1, disoccluded_factor: float = 4.0) -> None:
        super().__init__()
        if min(weight, disoccluded_factor) < 0:
            raise ValueError(f"weight is {weight} and disoccluded_factor {disoccluded_factor}; expected at least 0")
        self.weight = weight
        self.disoccluded_factor = disoccluded_factor

    def forward(self, flow: FlowPrediction, label: Int64[Tensor, "B H W"]) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted loss, ``disocclusion``; 0 where no pixel is labelled.

        Args:
            flow: prediction with disocclusion logits and a confidence.
            label: of the non-key frame, classes or ``IGNORE_INDEX``.
        """
        height, width = label.shape[-2:]
        probability = disoccluded(flow, (height, width))
        if flow.disocclusion_logits is None or probability is None:
            raise ValueError("the flow has no disocclusion logits or no confidence; expected both, as flow=correlation predicts")
        logits = flow.disocclusion_logits
        with full_precision(logits):
            logits = F.interpolate(logits.float(), size=flow.padded_size, mode="bilinear", align_corners=False)
            loss = F.cross_entropy(logits[..., :height, :width], label, ignore_index=IGNORE_INDEX, reduction="none")
            weight = (1 + self.disoccluded_factor * probability.detach()) * (label != IGNORE_INDEX)
            total = (loss * weight).sum() / reduce_mean_over_ranks(weight.sum()).clamp(min=1)
            return {"disocclusion": self.weight * total}
