"""Learning motion from two frames alone: what the flow fetches from the key frame should look like the non-key frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.device import full_precision
from src.ops.occlusion import inside_image
from src.ops.warp import full_size_flow, warp
from src.structures import FlowPrediction

_SOFTNESS = 0.81  # of the ternary census, in squared normalised differences (Meister et al. 2018, arXiv 1711.07837)
_ROBUST = 0.4  # exponent of the census distance: occlusions that nobody marked count less
_TINY = 1e-8  # below any number of pairs, also as a mean over ranks
_EDGE = 10.0  # how fast smoothness gives way to image edges, per unit of 0..1 intensity


class PhotometricLoss(nn.Module):
    """Soft census distance of the warped key frame to the non-key frame, and smoothness of the flow away from image edges.

    For pairs without known flow; the confidence, where the estimator has one, says which pixels are not to be found and do not
    count. The census compares each pixel with its 7 x 7 neighbours, so that changes of brightness do not matter.

    Args:
        weight: of the census distance.
        smoothness: of the edge-aware first differences of the flow, in pixels of the image.

    Raises:
        ValueError: if a weight is negative.
    """

    def __init__(self, weight: float = 1.0, smoothness: float = 0.02) -> None:
        super().__init__()
        if min(weight, smoothness) < 0:
            raise ValueError(f"weight {weight}, smoothness {smoothness}; expected at least 0")
        self.weight = weight
        self.smoothness = smoothness

    def forward(self, flow: FlowPrediction, key_image: Tensor, nonkey_image: Tensor, target: Tensor | None) -> dict[str, Tensor]:
        """Compare the frames of the pairs whose flow is unknown everywhere.

        Args:
            flow: with at least one pixel flow.
            key_image: (B, 3, H, W), RGB 0..255.
            nonkey_image: (B, 3, H, W), the same.
            target: (B, 2, H, W) known flow, NaN where unknown; ``None`` where no pair has any.

        Returns:
            ``photometric`` and ``smoothness``: weighted scalars; 0 where the flow of every pair is known.
        """
        blank = torch.ones(len(key_image), dtype=torch.bool, device=key_image.device)
        if target is not None:
            blank = ~target.isfinite().flatten(1).any(1)
        with full_precision(key_image):
            vectors = full_size_flow(flow, (key_image.shape[-2], key_image.shape[-1]))[blank]
            distance = roughness = flow.pixel_flows[-1].float().sum() * 0
            found = distance.detach()
            if len(vectors):
                key, nonkey = (image[blank].float().mean(1, keepdim=True) / 255 for image in (key_image, nonkey_image))
                counts = _findable(flow, blank, vectors)
                distance, found = (_census_distance(warp(key, vectors), nonkey) * counts).sum(), counts.sum()
                roughness = len(vectors) * _roughness(vectors, nonkey)
            # Also a rank that has no such pair takes part: the others wait for it.
            found, pairs = reduce_mean_over_ranks(torch.stack([found, blank.sum().to(found.dtype)]))
            return {
                "photometric": self.weight * distance / found.clamp(min=1),
                "smoothness": self.smoothness * roughness / pairs.clamp(min=_TINY),
            }


def _findable(flow: FlowPrediction, blank: Tensor, vectors: Tensor) -> Tensor:
    """(B, 1, H, W) in 0..1: how far a pixel's source is inside the key frame and not hidden there."""
    height, width = vectors.shape[-2:]
    inside = inside_image(vectors)[:, None].to(vectors.dtype)
    if flow.confidence is None:
        return inside
    confidence = flow.confidence[blank].detach().float().mean(1, keepdim=True)
    confidence = F.interpolate(confidence, size=flow.padded_size, mode="bilinear", align_corners=False)
    return inside * confidence[..., :height, :width]


def _census_distance(one: Tensor, other: Tensor) -> Tensor:
    """(B, 1, H, W): robust mean over the neighbours of how differently both images step to them."""
    signatures = [_census(image) for image in (one, other)]
    squared = (signatures[0] - signatures[1]).square()
    return torch.pow((squared / (0.1 + squared)).mean(1, keepdim=True) + 1e-3, _ROBUST)


def _census(image: Tensor) -> Tensor:
    batch, _, height, width = image.shape
    padded = F.pad(image, (3, 3, 3, 3), mode="replicate")
    around = F.unfold(padded, 7).reshape(batch, -1, height, width)
    step = 255 * (around - image)
    return step * torch.rsqrt(_SOFTNESS + step.square())


def _roughness(flow: Tensor, image: Tensor) -> Tensor:
    total = flow.sum() * 0
    for axis in (-1, -2):
        calm = torch.exp(-_EDGE * image.diff(dim=axis).abs())
        total = total + (calm * flow.diff(dim=axis).abs()).mean()
    return total
