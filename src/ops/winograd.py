"""3x3 convolution F(2x2, 3x3) of Lavin and Gray (arXiv 1509.09308): 16 instead of 36 multiply-adds for 2x2 results."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_BLOCK = 512  # tiles per step: with 256 channels, their transforms fit into a core's cache


# A compiler breaks the graph at every step that writes into a view, and fails at some.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def winograd_convolution(image: Float[Tensor, "B H W C"], kernel: Float[Tensor, "16 C O"]) -> Float[Tensor, "B H W O"]:
    """Convolve with a 3x3 kernel, stride 1, zero padding of 1; equal to ``conv2d`` to float rounding.

    Overlapping tiles of 4x4 pixels are transformed by sums and differences, multiplied by the transformed kernel as 16 matrix
    products, and transformed back. On CPUs it is faster than ``conv2d`` for many channels (256).

    Convention:
        channels last, so that all transforms are between whole rows; ``kernel`` is the result of :func:`transformed_kernel`.
    """
    batch, height, width, _ = image.shape
    rows, columns = -(-height // 2), -(-width // 2)
    padded = F.pad(image, (0, 0, 1, 2 * columns - width + 1, 1, 2 * rows - height + 1))
    result = image.new_empty(batch, rows, 2, columns, 2, kernel.shape[2])
    step = max(1, _BLOCK // columns)
    for source, target in zip(padded, result, strict=True):
        for first in range(0, rows, step):
            tiles = _transformed_tiles(source[2 * first : 2 * min(first + step, rows) + 2])
            products = torch.bmm(tiles.flatten(2, 3).flatten(0, 1), kernel)
            _inverse_transform(products.view(*tiles.shape[:4], -1), target[first : first + step])
    return result.view(batch, 2 * rows, 2 * columns, -1)[:, :height, :width]


def transformed_kernel(weight: Float[Tensor, "O C 3 3"]) -> Float[Tensor, "16 C O"]:
    """Transform a 3x3 kernel."""
    transform = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    # One product for both directions; einsum would make several copies.
    both = (transform[:, None, :, None] * transform[None, :, None, :]).reshape(16, 9)
    return (both @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(16, weight.shape[1], len(weight))


def _transformed_tiles(rows: Tensor) -> Tensor:
    """Transform tiles: (4, 4, tile rows, tile columns, C) of (2 * tile rows + 2, 2 * tile columns + 2, C)."""
    even, odd = rows[0::2], rows[1::2]
    vertical = rows.new_empty(4, len(even) - 1, *rows.shape[1:])
    _difference_sums(even[:-1], odd[:-1], even[1:], odd[1:], vertical)
    tiles = rows.new_empty(4, 4, len(even) - 1, rows.shape[1] // 2 - 1, rows.shape[2])
    left, right = vertical[:, :, 0::2], vertical[:, :, 1::2]
    _difference_sums(left[:, :, :-1], right[:, :, :-1], left[:, :, 1:], right[:, :, 1:], tiles.transpose(0, 1))
    return tiles


def _difference_sums(a: Tensor, b: Tensor, c: Tensor, d: Tensor, out: Tensor) -> None:
    """Write the transform of four neighbors along one direction, (4, ...)."""
    torch.sub(a, c, out=out[0])
    torch.add(b, c, out=out[1])
    torch.sub(c, b, out=out[2])
    torch.sub(b, d, out=out[3])


def _inverse_transform(products: Tensor, out: Tensor) -> None:
    """Write the results (rows, 2, columns, 2, O) of products (4, 4, rows, columns, O)."""
    vertical = products.new_empty(2, *products.shape[1:])
    _sum_and_difference(products, vertical)
    # Rows of a pair first, then columns, in the order of ``vertical``.
    _sum_and_difference(vertical.transpose(0, 1), out.permute(3, 1, 0, 2, 4))


def _sum_and_difference(products: Tensor, out: Tensor) -> None:
    """Write two pixels (2, ...) from four products (4, ...) along one direction."""
    a, b, c, d = products
    torch.add(a, b, out=out[0]).add_(c)
    torch.sub(b, c, out=out[1]).sub_(d)
