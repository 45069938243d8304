"""End-point errors of a flow estimator, for the whole image and for every segment."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.ops.device import full_precision
from src.ops.padding import pad_to
from src.ops.warp import resize_flow, upsample_flow, warp
from src.structures import FlowPrediction, MaskPrediction, Size

_SMOOTHING = 0.01  # px; keeps the gradient of a power below 1 finite at zero error
_TINY = 1e-8  # below any meaningful sum of weights


class FlowLoss(nn.Module):
    """End-point error of the pixel flow at every scale and of each query's flow inside its segment.

    Errors are in pixels of the full image at every scale, so that scales compare: a flow that is 1 px off everywhere costs 1
    at each of them.

    Args:
        pixel_weight: factor of the pixel flow's error, at least 0.
        segment_weight: factor of the segment flow's error, at least 0.
        scale_weights: weights of the pixel flow's scales, finest first, normalized to sum 1; for a flow with detail the first is
            the image's own grid. The default is FlowNetS's (arXiv 1504.06852) converted to means: FlowNetS sums errors over
            pixels, a quarter as many at each coarser scale, with weights that grow towards the coarse scales.
        exponent: exponent of the error, in (0, 1]; below 1 outliers count less (0.4 in PWC-Net's fine-tuning, arXiv 1709.02371).
        full_size: True enlarges the finest pixel flow bilinearly to the image before comparing: on its own grid, the target of a
            cell with two motions is a mean of both.
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

    def forward(
        self, flow: FlowPrediction, target: Float[Tensor, "_ C H W"], key: MaskPrediction | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted errors ``pixel_flow`` and ``segment_flow``; 0 without such a flow or known pixels.

        Args:
            flow: predicted flow from the non-key frame back to the key frame.
            target: (B, 2, H, W) known flow in pixels of the unpadded image; NaN where unknown.
            key: the key frame's prediction, whose final layer assigns pixels to segments; ``None`` if the estimator predicts one
                flow for all segments, which is no segment flow.
        """
        queries = flow.segment_flow.shape[1]
        if target.shape[1] != 2 or len(target) != len(flow.segment_flow):
            raise ValueError(
                f"target is {tuple(target.shape)} and segment_flow {tuple(flow.segment_flow.shape)}; expected (B, 2, H, W) "
                "with one B"
            )
        if queries == 1 and not flow.pixel_flows:
            raise ValueError("the prediction has one flow for all segments and no pixel flow; expected a flow to supervise")
        with full_precision(target):
            target = pad_to(target.float(), flow.padded_size, torch.nan)
            pixel = segment = flow.segment_flow.float().sum() * 0
            if flow.pixel_flows:
                pixel = self._pixel_error(flow, target)
            if queries > 1:
                if key is None:
                    raise ValueError("key is None; expected the key frame's masks, which weight each query's flow")
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
            raise ValueError(f"scale_weights are {self.scale_weights}; expected one for each of {len(flows)} scales, not all 0")
        total = torch.zeros((), device=target.device)
        for vectors, weight in zip(flows, weights, strict=True):
            error, known = self._error(vectors.float(), target)
            total = total + weight * (error * known).sum() / _normalizer(known.sum())
        return total / sum(weights)

    def _segment_error(self, segment_flow: Tensor, target: Tensor, key: MaskPrediction) -> Tensor:
        batch, queries, _, height, width = segment_flow.shape
        share, importance = self._membership(key, target, (height, width))
        if share.shape[:2] != (batch, queries):
            raise ValueError(
                f"segment_flow is {tuple(segment_flow.shape)}; expected (B, Q) = {tuple(share.shape[:2])} of the key masks"
            )
        error = torch.stack([self._error(flow, target[image : image + 1])[0] for image, flow in enumerate(segment_flow)])
        area = share.sum((-2, -1))
        mean_error = (error * share).sum((-2, -1)) / area.clamp(min=_TINY)
        # Weights by area would count only road and sky, equal weights as much for a dot as for a street: the root lies between.
        # "No object" enters outside the root: dozens of faint queries must not outweigh a few confident ones.
        weight = importance * area.sqrt()
        return (weight * mean_error).sum() / _normalizer(weight.sum())

    @torch.no_grad()
    def _membership(self, key: MaskPrediction, target: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """Return each non-key pixel's membership in each query (B, Q, h, w) and each query's objectness (B, Q), both 0..1."""
        masks = F.interpolate(key.mask_logits.float().sigmoid(), size=size, mode="area")
        flow, known = resize_known_flow(target, size)
        # Without resize_flow: the target is averaged, not interpolated, and its vectors are scaled here.
        scale = flow.new_tensor([size[1] / target.shape[-1], size[0] / target.shape[-2]]).view(2, 1, 1)
        return warp(masks, flow * scale) * known[:, None], 1 - key.class_logits.float().softmax(-1)[..., -1]

    def _error(self, flow: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return errors (N, h, w) of flows (N, 2, h, w) in pixels of the target's grid, and a 0/1 mask (N or 1, h, w)."""
        height, width = flow.shape[-2:]
        expected, known = resize_known_flow(target, (height, width))
        scale = flow.new_tensor([target.shape[-1] / width, target.shape[-2] / height]).view(2, 1, 1)
        error = torch.linalg.vector_norm(flow * scale - expected, dim=1)
        if self.exponent < 1:
            error = (error + _SMOOTHING) ** self.exponent - _SMOOTHING**self.exponent
        return error, known


def resize_known_flow(target: Float[Tensor, "B 2 H W"], size: Size) -> tuple[Tensor, Tensor]:
    """Average a partly unknown flow over the cells of a coarser grid; vectors keep their length.

    Args:
        target: known flow, NaN where unknown.
        size: (h, w) of the grid.

    Returns:
        flow (B, 2, h, w), 0 where unknown, still in pixels of the (H, W) grid; known (B, h, w): 1 where at least half of a
        cell's pixels are known, else 0.
    """
    known = target.isfinite().all(1, keepdim=True)
    total = F.adaptive_avg_pool2d(torch.where(known, target, 0.0), size)
    share = F.adaptive_avg_pool2d(known.to(target.dtype), size)
    enough = share >= 0.5
    return torch.where(enough, total / share.clamp(min=0.5), 0.0), enough[:, 0].to(target.dtype)


def _normalizer(weight: Tensor) -> Tensor:
    return reduce_mean_over_ranks(weight).clamp(min=_TINY)
