"""Learning to name what became visible, from the flow's features of the non-key frame."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.precision import full_precision
from src.structures import IGNORE_INDEX, FlowPrediction


class DisocclusionLoss(nn.Module):
    """Cross-entropy of the fill branch with the label of the non-key frame, stressed where the flow has little confidence.

    Args:
        weight: of the loss.
        new_factor: how much more a pixel counts where nothing in the key frame explains it; the branch is read there alone, but
            there are too few such pixels to learn classes from.

    Raises:
        ValueError: if a factor is negative.
    """

    def __init__(self, weight: float = 0.1, new_factor: float = 4.0) -> None:
        super().__init__()
        if min(weight, new_factor) < 0:
            raise ValueError(f"weight {weight}, new_factor {new_factor}; expected at least 0")
        self.weight = weight
        self.new_factor = new_factor

    def forward(self, flow: FlowPrediction, label: Tensor) -> dict[str, Tensor]:
        """Compare.

        Args:
            flow: with fill logits and a confidence.
            label: (B, H, W) int64 of the non-key frame.

        Returns:
            ``fill``: weighted scalar; 0 where no pixel is labelled.

        Raises:
            ValueError: if the estimator has no fill branch.
        """
        if flow.disocclusion_logits is None or flow.confidence is None:
            raise ValueError("the flow estimator has no fill branch (or no confidence): there is nothing to supervise")
        height, width = label.shape[-2:]
        with full_precision(flow.disocclusion_logits):
            logits, confidence = (
                F.interpolate(part.float(), size=flow.padded_size, mode="bilinear", align_corners=False)[..., :height, :width]
                for part in (flow.disocclusion_logits, flow.confidence.detach().mean(1, keepdim=True))
            )
            loss = F.cross_entropy(logits, label, ignore_index=IGNORE_INDEX, reduction="none")
            weight = (1 + self.new_factor * (1 - confidence[:, 0])) * (label != IGNORE_INDEX)
            return {"fill": self.weight * (loss * weight).sum() / reduce_mean_over_ranks(weight.sum()).clamp(min=1)}
