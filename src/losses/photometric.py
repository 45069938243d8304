"""Photometric loss: motion learned from two frames without known flow."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from kornia.losses import ssim_loss
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.device import full_precision
from src.ops.occlusion import inside_image
from src.ops.warp import disoccluded, full_size_flow, warp
from src.structures import FlowPrediction

Structure = Literal["census", "ssim"]

_WINDOW = 7  # pixels on each side that census and SSIM compare
_SOFTNESS = 0.81  # of the ternary census, in squared normalized differences (Meister et al. 2018, arXiv 1711.07837)
_ROBUST = 0.4  # exponent of the census distance: unmarked occlusions count less
_TINY = 1e-8  # below any number of pairs, also as a mean over ranks
_EDGE = 10.0  # decay of the smoothness weight at image edges, per unit of 0..1 intensity


class PhotometricLoss(nn.Module):
    """Structural distance of the warped key frame to the non-key frame, and smoothness of the flow away from image edges.

    For pairs without known flow. Pixels whose source lies outside the key frame do not count, and others count by the
    estimator's confidence, if it has one. Both distances compare grey frames in a window of 7 x 7 pixels.

    Args:
        weight: factor of the structural distance, at least 0.
        smoothness: factor, at least 0, of the edge-aware first differences of the flow, in pixels of the image.
        structure: ``census``: soft census distance, independent of brightness. ``ssim``: structural dissimilarity
            (Wang et al. 2004), which a change of brightness raises slightly.
    """

    def __init__(self, weight: float = 1.0, smoothness: float = 0.02, structure: Structure = "census") -> None:
        super().__init__()
        if min(weight, smoothness) < 0:
            raise ValueError(f"weight is {weight} and smoothness {smoothness}; expected at least 0")
        if structure not in get_args(Structure):
            raise ValueError(f"structure is {structure!r}; expected one of {', '.join(get_args(Structure))}")
        self.weight = weight
        self.smoothness = smoothness
        self.distance = census_distance if structure == "census" else ssim_distance

    def forward(
        self,
        flow: FlowPrediction,
        key_image: Tensor,
        nonkey_image: Tensor,
        target: Float[Tensor, "B 2 H W"] | None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted terms ``photometric`` and ``smoothness`` of the pairs without known flow; 0 if there are none.

        Args:
            flow: prediction with at least one pixel flow.
            key_image: (B, 3, H, W), RGB 0..255, as ``nonkey_image``.
            nonkey_image: frame from which the flow points to the key frame.
            target: known flow, NaN where unknown; ``None`` if no pair has any.
        """
        unknown = torch.ones(len(key_image), dtype=torch.bool, device=key_image.device)
        if target is not None:
            unknown = ~target.isfinite().flatten(1).any(1)
        size = key_image.shape[-2], key_image.shape[-1]
        with full_precision(key_image):
            vectors = full_size_flow(flow, size)[unknown]
            distance = roughness = flow.pixel_flows[-1].float().sum() * 0
            counted = distance.detach()
            if len(vectors):
                key, nonkey = (image[unknown].float().mean(1, keepdim=True) / 255 for image in (key_image, nonkey_image))
                visible = inside_image(vectors)[:, None].to(vectors.dtype)
                hidden = disoccluded(flow, size)
                if hidden is not None:
                    visible = visible * (1 - hidden.detach()[unknown, None])
                distance, counted = (self.distance(warp(key, vectors), nonkey) * visible).sum(), visible.sum()
                roughness = len(vectors) * _roughness(vectors, nonkey)
            # A rank without such pairs takes part as well, because the other ranks wait for it.
            counted, pairs = reduce_mean_over_ranks(torch.stack([counted, unknown.sum().to(counted.dtype)]))
            return {
                "photometric": self.weight * distance / counted.clamp(min=1),
                "smoothness": self.smoothness * roughness / pairs.clamp(min=_TINY),
            }


def census_distance(one: Float[Tensor, "B 1 H W"], other: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Compare the signs of the steps from each pixel to its neighbours: soft ternary census, images in 0..1."""
    signatures = [_census(image) for image in (one, other)]
    squared = (signatures[0] - signatures[1]).square()
    return torch.pow((squared / (0.1 + squared)).mean(1, keepdim=True) + 1e-3, _ROBUST)


def ssim_distance(one: Float[Tensor, "B 1 H W"], other: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Return the structural dissimilarity (1 - SSIM) / 2 of images in 0..1."""
    return ssim_loss(one, other, _WINDOW, reduction="none")


def _census(image: Tensor) -> Tensor:
    """Return the soft signs (B, 49, H, W) of the steps to all neighbours, each in -1..1."""
    batch, _, height, width = image.shape
    padded = F.pad(image, [_WINDOW // 2] * 4, mode="replicate")
    neighbours = F.unfold(padded, _WINDOW).reshape(batch, -1, height, width)
    step = 255 * (neighbours - image)
    return step * torch.rsqrt(_SOFTNESS + step.square())


def _roughness(flow: Tensor, image: Tensor) -> Tensor:
    total = flow.sum() * 0
    for axis in (-1, -2):
        uniform = torch.exp(-_EDGE * image.diff(dim=axis).abs())
        total = total + (uniform * flow.diff(dim=axis).abs()).mean()
    return total
