"""Semantic scores and label maps of query masks and classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from src.ops.device import full_precision
from src.ops.label_map import label_map
from src.structures import DisocclusionScores, MaskPrediction, Size

MapSize = Literal["image", "mask"]
"""Resolution of the sum over queries: the image's (exact), or that of the mask grid (approximate)."""


def semantic_scores(prediction: MaskPrediction, size: Size | None = None) -> Float32[Tensor, "B K H W"]:
    """Compute class scores per pixel: the class-weighted sum of the queries' masks (paper's evaluation).

    Convention:
        masks are upsampled to the padded image (bilinear, align_corners=False), the sigmoid is taken **after** that, the sum is
        cropped to the image and only then resized to ``size``. Disocclusion scores replace their share of the sum before that
        crop; where their weight is 0 the sum is unchanged, bit for bit.

    Args:
        prediction: only its final layer is used.
        size: (H, W) of the result; default: the image's.

    Returns:
        semantic_scores; "no object" has no channel.
    """
    with full_precision(prediction.mask_logits):
        classes = prediction.class_logits.float().softmax(-1)[..., :-1]
        masks = F.interpolate(
            prediction.mask_logits.float(), size=prediction.padded_size, mode="bilinear", align_corners=False
        ).sigmoid()
        scores = torch.einsum("bqk,bqhw->bkhw", classes, masks)
        if prediction.disocclusion is not None:
            scores = _mixed(scores, prediction.disocclusion)
        return _cropped_and_resized(scores, prediction.image_size, size)


def _mixed(scores: Tensor, disocclusion: DisocclusionScores) -> Tensor:
    size = (scores.shape[-2], scores.shape[-1])
    weight = F.interpolate(disocclusion.weight.float(), size=size, mode="bilinear", align_corners=False)
    predicted = F.interpolate(disocclusion.logits.float(), size=size, mode="bilinear", align_corners=False).softmax(1)
    return scores + weight * (predicted - scores)


def _cropped_and_resized(scores: Tensor, image_size: Size, size: Size | None) -> Tensor:
    scores = scores[..., : image_size[0], : image_size[1]]
    if size is None or tuple(size) == tuple(image_size):
        return scores
    return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)


def semantic_map(prediction: MaskPrediction, size: Size | None = None) -> Int64[Tensor, "B H W"]:
    """Compute the argmax of :func:`semantic_scores` without storing the scores.

    Pixels whose two best scores differ by no more than float rounding may take either class.

    Args:
        prediction: only its final layer is used.
        size: (H, W) of the result; default: the image's.

    Returns:
        semantic_map, values 0..K-1.
    """
    disocclusion = prediction.disocclusion
    with full_precision(prediction.mask_logits):
        classes = prediction.class_logits.float().softmax(-1)[..., :-1]
        masks = prediction.mask_logits.float()
        result = prediction.image_size if size is None else (size[0], size[1])
        mixed: list[Any] = [None] * len(masks)
        if disocclusion is not None:
            mixed = list(zip(disocclusion.logits.float(), disocclusion.weight.float(), strict=True))
        maps = [
            label_map(probabilities, logits, prediction.padded_size, prediction.image_size, result, scores)
            for probabilities, logits, scores in zip(classes, masks, mixed, strict=True)
        ]
    return torch.stack(maps)


def semantic_map_at_mask_size(prediction: MaskPrediction, size: Size | None = None) -> Int64[Tensor, "B H W"]:
    """Approximate :func:`semantic_map`: sum classes on the mask grid, and upsample their scores.

    The sigmoid precedes the upsampling, which moves borders between segments by fractions of a grid cell;
    ``docs/performance.md`` states the cost in mIoU.

    Args:
        prediction: only its final layer is used, without disocclusion scores.
        size: (H, W) of the result; default: the image's.

    Returns:
        semantic_map, values 0..K-1.
    """
    with full_precision(prediction.mask_logits):
        classes = prediction.class_logits.float().softmax(-1)[..., :-1]
        scores = torch.einsum("bqk,bqhw->bkhw", classes, prediction.mask_logits.float().sigmoid())
        scores = F.interpolate(scores, size=prediction.padded_size, mode="bilinear", align_corners=False)
        return _cropped_and_resized(scores, prediction.image_size, size).max(1).indices


SEMANTIC_MAPS: dict[MapSize, Callable[[MaskPrediction, Size | None], Tensor]] = {
    "image": semantic_map,
    "mask": semantic_map_at_mask_size,
}
"""Label map functions by the resolution of their sum."""
