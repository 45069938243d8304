"""A 3x3 convolution with 16 instead of 36 multiply-adds for 2x2 results: F(2x2, 3x3) of Lavin and Gray (arXiv 1509.09308)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 512  # tiles at a time: what 256 channels of them become fits into a core's cache


def winograd_convolution(image: Tensor, weight: Tensor) -> Tensor:
    """Convolve with a 3x3 kernel, stride 1, zero padding of 1; equal to ``conv2d`` to float rounding.

    Overlapping tiles of 4x4 pixels are transformed by sums and differences, multiplied by the transformed kernel as 16 matrix
    products, and transformed back. On CPUs it is faster than ``conv2d`` where channels are many (256) and pixels are too.

    Convention:
        channels last, so that all transformations are between whole rows.

    Args:
        image: (B, H, W, C).
        weight: (O, C, 3, 3).

    Returns:
        (B, H, W, O).
    """
    batch, height, width, _ = image.shape
    rows, columns = -(-height // 2), -(-width // 2)
    padded = F.pad(image, (0, 0, 1, 2 * columns - width + 1, 1, 2 * rows - height + 1))
    kernel = _transformed_kernel(weight)
    result = image.new_empty(batch, rows, 2, columns, 2, len(weight))
    step = max(1, _BLOCK // columns)
    for source, target in zip(padded, result, strict=True):
        for first in range(0, rows, step):
            tiles = _transformed_tiles(source[2 * first : 2 * min(first + step, rows) + 2])
            products = torch.bmm(tiles.flatten(2, 3).flatten(0, 1), kernel)
            _transform_back(products.view(*tiles.shape[:4], -1), target[first : first + step])
    return result.view(batch, 2 * rows, 2 * columns, -1)[:, :height, :width]


def _transformed_kernel(weight: Tensor) -> Tensor:
    """(16, C, O) of (O, C, 3, 3)."""
    transform = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    # One product for both directions; einsum would go through several copies.
    both = (transform[:, None, :, None] * transform[None, :, None, :]).reshape(16, 9)
    return (both @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(16, weight.shape[1], len(weight))


def _transformed_tiles(rows: Tensor) -> Tensor:
    """(4, 4, tile rows, tile columns, C) of the rows (2 * tile rows + 2, 2 * tile columns + 2, C) that the tiles lie in."""
    even, odd = rows[0::2], rows[1::2]
    vertical = _difference_sums(even[:-1], odd[:-1], even[1:], odd[1:])
    tiles = rows.new_empty(4, 4, len(even) - 1, rows.shape[1] // 2 - 1, rows.shape[2])
    for one, out in zip(vertical, tiles, strict=True):
        left, right = one[:, 0::2], one[:, 1::2]
        _difference_sums(left[:, :-1], right[:, :-1], left[:, 1:], right[:, 1:], out)
    return tiles


def _difference_sums(a: Tensor, b: Tensor, c: Tensor, d: Tensor, out: Tensor | None = None) -> Tensor:
    """The transform of four neighbours along one direction, (4, ...)."""
    out = a.new_empty(4, *a.shape) if out is None else out
    torch.sub(a, c, out=out[0])
    torch.add(b, c, out=out[1])
    torch.sub(c, b, out=out[2])
    torch.sub(b, d, out=out[3])
    return out


def _transform_back(products: Tensor, out: Tensor) -> None:
    """Write the results (rows, 2, columns, 2, O) of products (4, 4, rows, columns, O)."""
    a, b, c, d = products
    for vertical, row in (((a + b).add_(c), 0), ((b - c).sub_(d), 1)):
        one, two, three, four = vertical
        torch.add(one, two, out=out[:, row, :, 0]).add_(three)
        torch.sub(two, three, out=out[:, row, :, 1]).sub_(four)
