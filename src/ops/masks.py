"""From query masks and classes to semantic scores and maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from src.ops.label_map import label_map
from src.ops.precision import full_precision
from src.structures import DisocclusionScores, MaskPrediction, Size

MapSize = Literal["image", "mask"]
"""Where classes are summed: exactly, at the size of the image, or approximately, on the grid of the masks."""


def semantic_scores(prediction: MaskPrediction, size: Size | None = None) -> Float32[Tensor, "B K H W"]:
    """Class scores per pixel: the class-weighted sum of the queries' masks (paper's evaluation, raw size last).

    Convention:
        masks are upsampled to the padded image (bilinear, align_corners=False), the sigmoid is taken **after** that, the sum is
        cropped to the image and only then resized to ``size``. A fill takes its share of the sum before that crop; where its
        weight is 0 the sum stays as it is, bit for bit.

    Args:
        prediction: its final layer is read.
        size: (H, W) of the result; default the image's own.

    Returns:
        semantic_scores (B, K, H, W), float32; "no object" has no channel.
    """
    with full_precision(prediction.mask_logits):
        classes = prediction.class_logits.float().softmax(-1)[..., :-1]
        masks = F.interpolate(
            prediction.mask_logits.float(), size=prediction.padded_size, mode="bilinear", align_corners=False
        ).sigmoid()
        height, width = prediction.image_size
        scores = torch.einsum("bqk,bqhw->bkhw", classes, masks)
        if prediction.disocclusion is not None:
            scores = _filled(scores, prediction.disocclusion)
        scores = scores[..., :height, :width]
        if size is not None and tuple(size) != (height, width):
            scores = F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
    return scores


def _filled(scores: Tensor, fill: DisocclusionScores) -> Tensor:
    size = (scores.shape[-2], scores.shape[-1])
    weight = F.interpolate(fill.weight.float(), size=size, mode="bilinear", align_corners=False)
    named = F.interpolate(fill.logits.float(), size=size, mode="bilinear", align_corners=False).softmax(1)
    return scores + weight * (named - scores)


def semantic_map(prediction: MaskPrediction, size: Size | None = None) -> Int64[Tensor, "B H W"]:
    """The best class of every pixel: the argmax of :func:`semantic_scores` without these ever being stored.

    Pixels whose two best scores differ by no more than float rounding may take either class.

    Args:
        prediction: its final layer is read.
        size: (H, W) of the result; default the image's own.

    Returns:
        semantic_map (B, H, W) int64, values 0..K-1.
    """
    fill = prediction.disocclusion
    with full_precision(prediction.mask_logits):
        classes = prediction.class_logits.float().softmax(-1)[..., :-1]
        masks = prediction.mask_logits.float()
        result = prediction.image_size if size is None else (size[0], size[1])
        fills = [None] * len(masks) if fill is None else list(zip(fill.logits.float(), fill.weight.float(), strict=True))
        maps = [
            label_map(one, mask, prediction.padded_size, prediction.image_size, result, its_fill)
            for one, mask, its_fill in zip(classes, masks, fills, strict=True)
        ]
    return torch.stack(maps)


def semantic_map_at_mask_size(prediction: MaskPrediction, size: Size | None = None) -> Int64[Tensor, "B H W"]:
    """An approximation of :func:`semantic_map`: classes are summed on the mask grid, and their scores upsampled.

    The sigmoid comes before the upsampling, so that borders between segments move by parts of a grid cell;
    ``docs/performance.md`` has its cost in mIoU.

    Args:
        prediction: its final layer is read; a fill is left out.
        size: (H, W) of the result; default the image's own.

    Returns:
        semantic_map (B, H, W) int64, values 0..K-1.
    """
    with full_precision(prediction.mask_logits):
        classes = prediction.class_logits.float().softmax(-1)[..., :-1]
        scores = torch.einsum("bqk,bqhw->bkhw", classes, prediction.mask_logits.float().sigmoid())
        height, width = prediction.image_size
        scores = F.interpolate(scores, size=prediction.padded_size, mode="bilinear", align_corners=False)[..., :height, :width]
        if size is not None and tuple(size) != (height, width):
            scores = F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
    return scores.max(1).indices


SEMANTIC_MAPS: dict[MapSize, Callable[[MaskPrediction, Size | None], Tensor]] = {
    "image": semantic_map,
    "mask": semantic_map_at_mask_size,
}
"""The two ways from masks to a label map."""
