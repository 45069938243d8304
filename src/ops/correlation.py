"""Local correlation of the features of two images."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_BLOCK = 4
"""Side of the blocks that share a matrix product, of whose entries ((2r + 1) / (2r + 4))^2 are used."""


def local_correlation(
    first: Float[Tensor, "B C h w"], second: Float[Tensor, "B C h w"], radius: int
) -> Float[Tensor, "B (2*{radius}+1)**2 h w"]:
    """Compute inner products of the features at each position with those of a window around it in the other image.

    ``out[:, k, y, x] = first[:, :, y, x] . second[:, :, y + dy, x + dx]`` with ``k = (dy + r) * (2r + 1) + dx + r``; positions
    outside the image contain zeros. A block of pixels is multiplied with the union of its windows at once: one shifted product
    per displacement would read everything (2r + 1)^2 times. The radius r is at least 0, in pixels of this grid.
    """
    if first.shape != second.shape or first.dim() != 4 or radius < 0:
        raise ValueError(
            f"features {tuple(first.shape)}, {tuple(second.shape)} and radius {radius}; "
            "expected two equal (B, C, h, w) and a radius of at least 0"
        )
    batch, channels, height, width = first.shape
    below, right = -height % _BLOCK, -width % _BLOCK
    rows, columns = (height + below) // _BLOCK, (width + right) // _BLOCK
    side, window = 2 * radius + 1, _BLOCK + 2 * radius
    first = F.pad(first, (0, right, 0, below))
    second = F.pad(second, (radius, radius + right, radius, radius + below))
    blocks = first.reshape(batch, channels, rows, _BLOCK, columns, _BLOCK).permute(0, 2, 4, 3, 5, 1)
    windows = second.unfold(2, window, _BLOCK).unfold(3, window, _BLOCK).permute(0, 2, 3, 1, 4, 5)
    products = blocks.reshape(-1, _BLOCK * _BLOCK, channels) @ windows.reshape(-1, channels, window * window)
    # (block, y, x, dy, dx): pixel (y, x) of a block reads rows y .. y + 2r and columns x .. x + 2r of the window.
    strides = (_BLOCK * window * window + window, window * window + 1, window, 1)
    size = (batch, rows, columns, _BLOCK, _BLOCK, side, side)
    block_stride = _BLOCK * _BLOCK * window * window
    selected = products.contiguous().as_strided(
        size, (rows * columns * block_stride, columns * block_stride, block_stride, *strides)
    )
    out = selected.permute(0, 5, 6, 1, 3, 2, 4).reshape(batch, side * side, rows * _BLOCK, columns * _BLOCK)
    return out[..., :height, :width]
