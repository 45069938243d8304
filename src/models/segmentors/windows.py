"""Overlapping square windows of an image, placed as transformers places them for EoMT."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Num
from torch import Tensor

from src.ops.padding import padded_size
from src.structures import MaskPrediction, Window

_LEAST = 1e-6
"""Least probability of a mask outside of its window."""


def window_starts(long_side: int, side: int) -> list[int]:
    """Return the first pixels of the windows along the longer side of an image."""
    count = math.ceil(long_side / side)
    overlap = (count * side - long_side) / (count - 1) if count > 1 else 0.0
    return [int(number * (side - overlap)) for number in range(count)]


def segment_windows(
    segment: Callable[[Tensor], MaskPrediction], image: Num[Tensor, "B 3 H W"], side: int, size_divisor: int
) -> MaskPrediction:
    """Segment an image by windows, as one batch.

    Args:
        segment: segmentor of images of ``side`` x ``side`` pixels, a multiple of ``size_divisor``.
        image: unpadded image, RGB 0..255.
        side: side of the windows, and shorter side of the image, pixels.
        size_divisor: divisor of the padded size.

    Returns:
        Prediction with the final layer of each window in ``windows``. Its own masks, on which flows act, are those of all
        windows side by side on the grid of the image, each weighed by the number of windows at its place.

    Raises:
        ValueError: if the shorter side of the image is another one.
    """
    size = (image.shape[-2], image.shape[-1])
    if min(size) != side:
        raise ValueError(
            f"image is {size[0]}x{size[1]} and split_images set; expected a shorter side of {side} pixels, that of the windows; "
            f"use short_side={side}"
        )
    axis = 0 if size[0] > size[1] else 1
    starts = window_starts(max(size), side)
    whole = segment(torch.cat([image.narrow(axis - 2, start, side) for start in starts])).final_layer()
    rows = [slice(number * len(image), (number + 1) * len(image)) for number in range(len(starts))]
    parts = [
        replace(
            whole,
            class_logits_per_layer=whole.class_logits_per_layer[:, row],
            mask_logits_per_layer=whole.mask_logits_per_layer[:, row],
            queries=whole.queries[row],
        )
        for row in rows
    ]
    windows = [Window((start, 0) if axis == 0 else (0, start), part) for start, part in zip(starts, parts, strict=True)]
    padded = padded_size(size, size_divisor)
    return MaskPrediction(
        class_logits_per_layer=torch.cat([part.class_logits_per_layer for part in parts], 2),
        mask_logits_per_layer=_side_by_side([part.mask_logits for part in parts], starts, axis, side, padded[axis])[None],
        queries=torch.cat([part.queries for part in parts], 1),
        image_size=size,
        padded_size=padded,
        windows=tuple(windows),
    )


def _side_by_side(
    masks: Sequence[Float[Tensor, "B Q _ _"]], starts: Sequence[int], axis: int, side: int, length: int
) -> Float[Tensor, "B _ _ _"]:
    """Place the mask logits of windows on the grid of an image of ``length`` pixels along ``axis``, 0 or 1."""
    dim, cells = axis - 2, masks[0].shape[axis - 2]
    stride = side / cells
    centers = torch.arange(round(length / stride), device=masks[0].device)
    # A cell belongs to the windows that its center is in; the last window has those of the padding.
    ends = [*(start + side for start in starts[:-1]), math.inf]
    pixels = (centers + 0.5) * stride
    inside = torch.stack([(pixels >= start) & (pixels < end) for start, end in zip(starts, ends, strict=True)])
    shares = inside / inside.sum(0).clamp(min=1)
    placed = []
    for logits, start, share in zip(masks, starts, shares, strict=True):
        places = centers - start / stride
        low = places.floor()
        first, second = (logits.index_select(dim, (low + step).clamp(0, cells - 1).long()) for step in (0, 1))
        along = [-1, 1] if axis == 0 else [1, -1]
        probability = torch.lerp(first, second, (places - low).view(along).to(logits.dtype)).sigmoid()
        placed.append((probability * share.view(along)).clamp(min=_LEAST).logit(1e-7))
    return torch.cat(placed, 1)
