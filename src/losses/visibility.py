"""Learning which pixels of a non-key frame can be seen in its key frame."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.device import full_precision
from src.ops.occlusion import occluded
from src.ops.padding import pad_to
from src.structures import FlowPrediction

_EPS = 1e-4  # bounds the cost of a confident mistake, and of what is ruled out by geometry


class VisibilityLoss(nn.Module):
    """Cross-entropy of the confidence with the share of each cell that is visible in the key frame.

    For data whose flow is unknown exactly where its source is hidden, as that of ``still_motion`` and ``moving_scenes`` is. What
    points out of the key frame is hidden as well, for a crop may have cut it off.

    Args:
        weight: of the loss.

    Raises:
        ValueError: if the weight is negative.
    """

    def __init__(self, weight: float = 0.2) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight is {weight}; expected at least 0")
        self.weight = weight

    def forward(self, flow: FlowPrediction, target: Tensor) -> dict[str, Tensor]:
        """Compare.

        Args:
            flow: with a confidence.
            target: (B, 2, H, W) backward flow in pixels, NaN where the source is hidden; images of which nothing is known do not
                count.

        Returns:
            ``visibility``: weighted scalar.

        Raises:
            ValueError: if the estimator has no confidence.
        """
        if flow.confidence is None:
            raise ValueError("the flow estimator gives no confidence: there is nothing to supervise")
        with full_precision(target):
            seen, judged = _visible(target.float(), flow)
            confidence = flow.confidence.float().mean(1, keepdim=True).clamp(_EPS, 1 - _EPS)
            loss = F.binary_cross_entropy(confidence, seen, reduction="none")
            return {"visibility": self.weight * (loss * judged).sum() / reduce_mean_over_ranks(judged.sum()).clamp(min=1)}


def _visible(target: Tensor, flow: FlowPrediction) -> tuple[Tensor, Tensor]:
    """Visible share of each cell and how much of it belongs to the image, both (B, 1, h, w)."""
    assert flow.confidence is not None
    grid = flow.confidence.shape[-2], flow.confidence.shape[-1]
    seen = (~occluded(target))[:, None].float()
    known = target.isfinite().flatten(1).any(1).float().view(-1, 1, 1, 1).expand_as(seen)
    seen, known = (F.adaptive_avg_pool2d(pad_to(part, flow.padded_size), grid) for part in (seen, known))
    return (seen / known.clamp(min=1e-6)).clamp(max=1), known
