"""Masks of a key frame read at the source of every pixel, instead of from a grid of warped masks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from src.structures import Size

Read = tuple[Tensor, Tensor]
"""Mask logits (Q, h, w) of a key frame, and flow (2, H, W) from each pixel of the image to its source there, both float32."""


def read_masks(
    mask_logits: Float32[Tensor, "B Q h w"],
    flow: Float32[Tensor, "B 2 H W"],
    padded_size: Size,
    rows: tuple[int, int] | None = None,
) -> Float32[Tensor, "B Q _ W"]:
    """Read mask logits at the source of every pixel, bilinearly on their grid; sources outside the image move to its border.

    Args:
        mask_logits: of the key frame.
        flow: from each pixel of the unpadded image to its source, pixels.
        padded_size: (H, W) that the grid covers.
        rows: first row and the one after the last; default: all.
    """
    height, width = flow.shape[-2:]
    first, end = rows or (0, height)
    x = torch.arange(width, device=flow.device) + flow[:, 0, first:end].float()
    y = torch.arange(first, end, device=flow.device)[:, None] + flow[:, 1, first:end].float()
    # In units of grid_sample, where -1 and 1 are the edges of the padded image.
    x, y = (2 * x.clamp(0, width - 1) + 1) / padded_size[1] - 1, (2 * y.clamp(0, height - 1) + 1) / padded_size[0] - 1
    return F.grid_sample(mask_logits, torch.stack((x, y), -1), mode="bilinear", padding_mode="border", align_corners=False)


class PixelReader:
    """Reader of single pixels, for label maps of which few pixels are undecided.

    Args:
        reads: one of each set of queries; ``None`` for a set that is read from its own grid.
        scale: pixels per cell of the grid, vertically and horizontally.
    """

    def __init__(self, reads: Sequence[Read | None], scale: Size) -> None:
        self._scale = scale
        # Queries last, so that a pixel reads whole rows.
        self._tables = [
            None if read is None else (read[0].flatten(1).T.contiguous(), read[0].shape[-2:], read[1].flatten(1))
            for read in reads
        ]
        self._size = next((read[1].shape[-2:] for read in reads if read is not None), None)

    def write(self, pixels: Tensor, y: Tensor, x: Tensor) -> None:
        """Replace masks of pixels by those at their sources.

        Args:
            pixels: (n, Q) sigmoid masks of all sets; written.
            y: (n,) rows of the pixels; those outside the image may be any.
            x: (n,) columns.
        """
        if self._size is None:
            return
        height, width = self._size
        y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
        queries = pixels.shape[1] // len(self._tables)
        for number, one in enumerate(self._tables):
            if one is None:
                continue
            table, grid, flow = one
            vectors = flow[:, y * width + x]
            rows = neighbors(y + vectors[1], height, self._scale[0], grid[0])
            columns = neighbors(x + vectors[0], width, self._scale[1], grid[1])
            corners = torch.stack([row * grid[1] + column for row, _ in rows for column, _ in columns], 1)
            shares = torch.stack([down * right for _, down in rows for _, right in columns], 1)
            found = F.embedding_bag(corners, table, per_sample_weights=shares, mode="sum")
            pixels[:, number * queries : (number + 1) * queries] = found.sigmoid_()


def neighbors(position: Tensor, length: int, scale: float, grid: int) -> list[tuple[Tensor, Tensor]]:
    """Return both neighbors on the grid of positions in pixels, and their weights.

    Args:
        position: places in an image of ``length`` pixels; those outside move to its border.
        length: pixels.
        scale: pixels per cell.
        grid: cells.
    """
    place = ((position.clamp(0, length - 1) + 0.5) / scale - 0.5).clamp(0, grid - 1)
    lower = place.long()
    fraction = place - lower
    return [(lower, 1 - fraction), ((lower + 1).clamp(max=grid - 1), fraction)]
