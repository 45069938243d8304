"""End-point errors that pretrain a flow estimator, for the image as a whole and for every segment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.device import full_precision
from src.ops.padding import pad_to
from src.ops.warp import resize_flow, upsample_flow, warp
from src.structures import FlowPrediction, MaskPrediction, Size

_SMOOTHING = 0.01  # px; keeps the gradient of a power below 1 finite where the flow is exact
_TINY = 1e-8  # below any sum of weights that means something


class FlowLoss(nn.Module):
    """End-point error of the pixel flow at every scale and of each query's flow inside its segment.

    Every error is in pixels of the full image, whatever the grid, so that scales compare: a flow that is 1 px off everywhere
    costs 1 at every scale.

    Args:
        pixel_weight: of the error of the pixel flow.
        segment_weight: of the error of the segment flow.
        scale_weights: of the pixel flow's scales, finest first; normalised to sum 1. Of a flow with detail the first is the
            image's own grid. The default is FlowNetS's (arXiv 1504.06852): its weights grow towards the coarse scales, but its
            errors are summed over pixels, of which every coarser scale has a quarter; these are for means.
        exponent: of the error; below 1 outliers count less (PWC-Net's fine-tuning, arXiv 1709.02371, has 0.4).
        full_size: whether the finest pixel flow is enlarged bilinearly to the image and compared there: at its own grid, cells
            that two motions meet in have a target between both.

    Raises:
        ValueError: if a weight is negative or the exponent is out of (0, 1].
    """

    def __init__(
        self,
        pixel_weight: float = 1.0,
        segment_weight: float = 1.0,
        scale_weights: Sequence[float] = (1.0, 0.5, 0.25, 0.25, 0.25),
        exponent: float = 1.0,
        full_size: bool = False,
    ) -> None:
        super().__init__()
        weights = (pixel_weight, segment_weight, *scale_weights)
        if min(weights) < 0 or not 0 < exponent <= 1:
            raise ValueError(f"weights {weights} and exponent {exponent}; expected weights of at least 0 and 0 < exponent <= 1")
        self.pixel_weight = pixel_weight
        self.segment_weight = segment_weight
        self.scale_weights = tuple(scale_weights)
        self.exponent = exponent
        self.full_size = full_size

    def forward(self, flow: FlowPrediction, target: Tensor, key: MaskPrediction | None) -> dict[str, Tensor]:
        """Compare predicted with known flow.

        Args:
            flow: from the non-key frame back to the key frame.
            target: (B, 2, H, W), the same in pixels of the unpadded image; NaN where it is unknown.
            key: the key frame's prediction; its final layer says which pixels are whose. ``None`` where the estimator gives one
                flow for all segments.

        Returns:
            ``pixel_flow`` and ``segment_flow``: weighted scalars; 0 where the estimator has no such flow (one flow for all
            segments has no segment flow) or no pixel is known.

        Raises:
            ValueError: if shapes do not fit, or the estimator offers nothing to supervise.
        """
        queries = flow.segment_flow.shape[1]
        if target.shape[1] != 2 or len(target) != len(flow.segment_flow):
            raise ValueError(f"target {tuple(target.shape)} does not fit segment_flow {tuple(flow.segment_flow.shape)}")
        if queries == 1 and not flow.pixel_flows:
            raise ValueError("the estimator gives one flow for all segments and no pixel flow: there is nothing to supervise")
        with full_precision(target):
            target = pad_to(target.float(), flow.padded_size, torch.nan)
            pixel = segment = flow.segment_flow.float().sum() * 0
            if flow.pixel_flows:
                pixel = self._pixel_error(flow, target)
            if queries > 1:
                if key is None:
                    raise ValueError("one flow for each query, but no key masks to say where each of them counts")
                segment = self._segment_error(flow.segment_flow.float(), target, key)
        return {"pixel_flow": self.pixel_weight * pixel, "segment_flow": self.segment_weight * segment}

    def _pixel_error(self, flow: FlowPrediction, target: Tensor) -> Tensor:
        flows = list(reversed(flow.pixel_flows))
        if self.full_size:
            flows[0] = resize_flow(flows[0].float(), flow.padded_size)
        if flow.detail is not None:
            flows.insert(0, upsample_flow(flow.pixel_flows[-1], flow))
        weights = self.scale_weights[: len(flows)]
        if len(weights) < len(flows) or sum(weights) <= 0:
            raise ValueError(f"{len(flows)} scales but scale_weights {self.scale_weights}; expected one for each, not all 0")
        total = torch.zeros((), device=target.device)
        for vectors, weight in zip(flows, weights, strict=True):
            error, known = self._error(vectors.float(), target)
            total = total + weight * (error * known).sum() / _normaliser(known.sum())
        return total / sum(weights)

    def _segment_error(self, segment_flow: Tensor, target: Tensor, key: MaskPrediction) -> Tensor:
        batch, queries, _, height, width = segment_flow.shape
        share, importance = self._membership(key, target, (height, width))
        if share.shape[:2] != (batch, queries):
            raise ValueError(f"segment_flow {tuple(segment_flow.shape)} does not fit {tuple(share.shape[:2])} key masks")
        error = torch.stack([self._error(flow, target[image : image + 1])[0] for image, flow in enumerate(segment_flow)])
        area = share.sum((-2, -1))
        mean_error = (error * share).sum((-2, -1)) / area.clamp(min=_TINY)
        # By area alone road and sky are all there is; by mean alone a dot weighs as much as a street. The root is between.
        # "No object" enters outside the root: dozens of faint queries must not outweigh a few real ones.
        weight = importance * area.sqrt()
        return (weight * mean_error).sum() / _normaliser(weight.sum())

    @torch.no_grad()
    def _membership(self, key: MaskPrediction, target: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """How much each non-key pixel belongs to each query (B, Q, h, w), and how much each query is an object (B, Q)."""
        masks = F.interpolate(key.mask_logits.float().sigmoid(), size=size, mode="area")
        flow, known = resize_known_flow(target, size)
        # Without resize_flow: the target is averaged, not interpolated, and its vectors are scaled here.
        scale = flow.new_tensor([size[1] / target.shape[-1], size[0] / target.shape[-2]]).view(2, 1, 1)
        return warp(masks, flow * scale) * known[:, None], 1 - key.class_logits.float().softmax(-1)[..., -1]

    def _error(self, flow: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Error of flows (N, 2, h, w) in pixels of the target's grid, and where it counts: (N, h, w) and (N or 1, h, w)."""
        height, width = flow.shape[-2:]
        expected, known = resize_known_flow(target, (height, width))
        scale = flow.new_tensor([target.shape[-1] / width, target.shape[-2] / height]).view(2, 1, 1)
        error = torch.linalg.vector_norm(flow * scale - expected, dim=1)
        if self.exponent < 1:
            error = (error + _SMOOTHING) ** self.exponent - _SMOOTHING**self.exponent
        return error, known


def resize_known_flow(target: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Average a partly unknown flow over the cells of a coarser grid; the vectors keep their length.

    Args:
        target: (B, 2, H, W), NaN where unknown.
        size: (h, w) of the grid.

    Returns:
        flow (B, 2, h, w), 0 where unknown, still in pixels of the (H, W) grid; known (B, h, w) 0 or 1: at least half of a
        cell's pixels are known.
    """
    known = target.isfinite().all(1, keepdim=True)
    total = F.adaptive_avg_pool2d(torch.where(known, target, 0.0), size)
    share = F.adaptive_avg_pool2d(known.to(target.dtype), size)
    enough = share >= 0.5
    return torch.where(enough, total / share.clamp(min=0.5), 0.0), enough[:, 0].to(target.dtype)


def _normaliser(weight: Tensor) -> Tensor:
    return reduce_mean_over_ranks(weight).clamp(min=_TINY)
