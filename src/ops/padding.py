"""Padding to a multiple, at the right and bottom."""

import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor

from src.structures import Size


def padded_size(size: Size, divisor: int) -> Size:
    """Round (H, W) up to multiples of ``divisor``."""
    height, width = size
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def pad_to(image: Shaped[Tensor, "*batch h w"], size: Size, value: float = 0.0) -> Shaped[Tensor, "*batch {size[0]} {size[1]}"]:
    """Pad an image at the right and bottom with a constant."""
    height, width = image.shape[-2:]
    if height > size[0] or width > size[1]:
        raise ValueError(f"image of {height}x{width} does not fit into {size[0]}x{size[1]}")
    if (height, width) == tuple(size):
        return image
    return F.pad(image, (0, size[1] - width, 0, size[0] - height), value=value)
