"""Image-change signals on thumbnails; they cost far less than any network."""

import torch
import torch.nn.functional as F
from torch import Tensor

from src.structures import Size

THUMBNAIL_SIDE = 48
"""Short side of a thumbnail, pixels: averages out noise and fine texture, keeps objects."""


def thumbnail(image: Tensor) -> Tensor:
    """Reduce a frame to a small grey image whose pixels are means of blocks.

    Args:
        image: (1, 3, H, W), RGB 0..255.

    Returns:
        (1, 1, h, w) float32; the short side is :data:`THUMBNAIL_SIDE`, or that of the image if smaller.
    """
    weights = image.new_tensor([0.299, 0.587, 0.114], dtype=torch.float32).view(3, 1, 1)
    grey = (image.float() * weights).sum(1, keepdim=True)
    height, width = grey.shape[-2:]
    scale = min(1.0, THUMBNAIL_SIDE / min(height, width))
    return F.interpolate(grey, size=(round(height * scale), round(width * scale)), mode="area")


def thumbnail_multiply_adds(size: Size) -> int:
    """Count the multiply-adds of a thumbnail and of its comparison with the previous one.

    Three per pixel of the image for grey, one for the mean of blocks, and ten per pixel of the thumbnail.
    """
    pixels = size[0] * size[1]
    scale = min(1.0, THUMBNAIL_SIDE / min(size))
    return 4 * pixels + 10 * round(pixels * scale * scale)


def difference_and_similarity(earlier: Tensor, later: Tensor) -> tuple[float, float]:
    """Compare two thumbnails (1, 1, h, w).

    Returns:
        Mean absolute difference in grey levels, after scaling the earlier thumbnail to the mean of the later one; and the
        correlation of the pixels, -1..1, which is invariant to brightness and contrast (1 for an image without contrast).
    """
    matched = earlier * (later.mean() / earlier.mean().clamp(min=1))
    a, b = earlier - earlier.mean(), later - later.mean()
    scale = a.norm() * b.norm()
    similarity = torch.where(scale > 1e-3, (a * b).sum() / scale.clamp(min=1e-3), torch.ones_like(scale))
    # One transfer from the device instead of two.
    difference, similar = torch.stack(((matched - later).abs().mean(), similarity)).tolist()
    return difference, similar
