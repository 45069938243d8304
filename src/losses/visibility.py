"""Visibility loss: trains the confidence that a non-key pixel is visible in the key frame."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.device import full_precision
from src.ops.occlusion import inside_image
from src.ops.padding import pad_to
from src.structures import FlowPrediction

_EPS = 1e-4  # bounds the cost of a confident mistake, and of confidences that geometry sets to 0


class VisibilityLoss(nn.Module):
    """Cross-entropy of the confidence with the share of each cell that is visible in the key frame.

    Requires data whose flow is unknown exactly where its source is occluded (synthetic motion, ``moving_scenes``). A flow out of
    the key frame counts as occluded too, because a crop may have removed its source.

    Args:
        weight: factor of the loss, at least 0.
    """

    def __init__(self, weight: float = 0.2) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight is {weight}; expected at least 0")
        self.weight = weight

    def forward(self, flow: FlowPrediction, target: Float[Tensor, "B 2 H W"]) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted loss, ``visibility``.

        Args:
            flow: prediction with a confidence.
            target: backward flow in pixels, NaN where the source is occluded; images without any known flow do not count.
        """
        if flow.confidence is None:
            raise ValueError("the flow has no confidence; expected one, as flow=correlation predicts")
        with full_precision(target):
            visible, share = _visible(target.float(), flow)
            confidence = flow.confidence.float().mean(1, keepdim=True).clamp(_EPS, 1 - _EPS)
            loss = F.binary_cross_entropy(confidence, visible, reduction="none")
            return {"visibility": self.weight * (loss * share).sum() / reduce_mean_over_ranks(share.sum()).clamp(min=1)}


def _visible(target: Tensor, flow: FlowPrediction) -> tuple[Tensor, Tensor]:
    """Return for each cell the visible share and the share inside the image, both (B, 1, h, w)."""
    assert flow.confidence is not None
    grid = flow.confidence.shape[-2], flow.confidence.shape[-1]
    visible = inside_image(target)[:, None].float()
    known = target.isfinite().flatten(1).any(1).float().view(-1, 1, 1, 1).expand_as(visible)
    visible, known = (F.adaptive_avg_pool2d(pad_to(part, flow.padded_size), grid) for part in (visible, known))
    return (visible / known.clamp(min=1e-6)).clamp(max=1), known
