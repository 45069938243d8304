"""What says that a propagation is not to be trusted, each as one number.

The first three look at thumbnails alone and cost next to nothing, so that they can decide before any flow is computed. The others
judge a finished propagation. None of them needs a label.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from src.structures import Size

THUMBNAIL_SIDE = 48
"""Short side of a thumbnail, pixels: noise and fine texture are averaged away, objects stay."""


def thumbnail(image: Tensor) -> Tensor:
    """A small grey picture of a frame, every pixel the mean of its block.

    Args:
        image: (1, 3, H, W), RGB 0..255.

    Returns:
        (1, 1, h, w) float32; the short side is :data:`THUMBNAIL_SIDE`, or the image's own where that is smaller.
    """
    weights = image.new_tensor([0.299, 0.587, 0.114], dtype=torch.float32).view(3, 1, 1)
    grey = (image.float() * weights).sum(1, keepdim=True)
    height, width = grey.shape[-2:]
    scale = min(1.0, THUMBNAIL_SIDE / min(height, width))
    return F.interpolate(grey, size=(round(height * scale), round(width * scale)), mode="area")


def thumbnail_multiply_adds(size: Size) -> int:
    """Multiply-adds of a thumbnail and of its comparison with the one before.

    Three per pixel for grey, one for the mean of blocks, and ten per pixel of the thumbnail.

    Args:
        size: (H, W) of the image.
    """
    pixels = size[0] * size[1]
    scale = min(1.0, THUMBNAIL_SIDE / min(size))
    return 4 * pixels + 10 * round(pixels * scale * scale)


def difference_and_similarity(earlier: Tensor, later: Tensor) -> tuple[float, float]:
    """How far two thumbnails differ once their brightness agrees, and how far they show the same picture.

    Args:
        earlier: (1, 1, h, w).
        later: (1, 1, h, w).

    Returns:
        The mean absolute difference in grey levels, after the earlier one was brought to the later one's mean; and the
        correlation of the pixels, -1..1, which brightness and contrast do not change (1 where a picture is flat).
    """
    matched = earlier * (later.mean() / earlier.mean().clamp(min=1))
    a, b = earlier - earlier.mean(), later - later.mean()
    scale = a.norm() * b.norm()
    similarity = torch.where(scale > 1e-3, (a * b).sum() / scale.clamp(min=1e-3), torch.ones_like(scale))
    # One transfer from the device instead of two.
    difference, similar = torch.stack(((matched - later).abs().mean(), similarity)).tolist()
    return difference, similar
