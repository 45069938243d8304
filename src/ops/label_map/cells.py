"""Label map by bounds on the cells of the mask grid: only undecided cells are upsampled.

A class wins a pixel if its score, the class-weighted sum of the queries' masks, is the largest. Between the pixels of the mask
grid no upsampled mask leaves the range of its four neighbors, so two matrix products at the grid's size bound all scores of such
a cell. The cell is decided where one class's lower bound is above every other's upper bound, or where the bound on its lead over
each of them is above zero; only the other cells are upsampled.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src.ops.label_map.reads import PixelReader, Read
from src.structures import Size

Extreme = Callable[[Tensor, Tensor], Tensor]
"""``torch.minimum`` or ``torch.maximum``."""

_SIDE = 4  # cells along each side of a block
_STRIP_CELLS = 2048  # cells bounded per step: 100 masks of them fit into a core's cache
_OPEN_BLOCKS = 128  # maximum number of undecided blocks whose cells are bounded per step
_CONTESTED_BLOCKS, _CONTESTED_CELLS = 16, 4  # undecided, with one likely winner: minimum number to bound its lead as well
_OPEN_PIXELS = 4096  # pixels of undecided cells upsampled per step
_ROUNDING = 2.0**-18  # of the sum of all weights: far above the error of float32 sums, far below relevant differences


def label_map_by_cells(
    classes: Tensor, mask_logits: Tensor, scale: Size, image_size: Size, shares: Tensor | None, reads: Sequence[Read | None] = ()
) -> Tensor:
    """Compute the label map at the image's size: bound blocks of cells, then the cells of open blocks; upsample open cells."""
    # Subtracting a number from all classes of a query changes every score equally. Smaller weights give tighter bounds.
    weights = (classes - (classes.amax(1, keepdim=True) + classes.amin(1, keepdim=True)) / 2).T.contiguous()
    slack = _ROUNDING * float(weights.abs().sum(1).max())
    # The first cell begins half a cell before the image.
    top, left = scale[0] - scale[0] // 2, scale[1] - scale[1] // 2
    rows, columns = -(-(top + image_size[0]) // (_SIDE * scale[0])), -(-(left + image_size[1]) // (_SIDE * scale[1]))
    # Before the first and after the last center of the grid, pixels repeat it, and so do the corners of the cells.
    grid = mask_logits.shape[-2:]
    # A source may lie as far as a cell from where the grid of warped masks has it.
    margin = 1 if any(read is not None for read in reads) else 0
    y, x = (
        torch.arange(-1 - margin, n * _SIDE + margin).clamp(0, last - 1) for n, last in zip((rows, columns), grid, strict=True)
    )
    corners = y[:, None] * grid[1] + x
    # Queries last, so that every step below, gathering above all, reads whole rows. Torch transposes a matrix with one thread,
    # an image with all threads.
    table = mask_logits[None].contiguous(memory_format=torch.channels_last)[0].flatten(1).T
    dtype = torch.uint8 if classes.shape[1] <= 256 else torch.int64
    canvas = torch.empty(rows, _SIDE, scale[0], columns, _SIDE, scale[1], dtype=dtype)
    if shares is not None:
        right, bottom = columns * _SIDE * scale[1] - left - image_size[1], rows * _SIDE * scale[0] - top - image_size[0]
        shares = F.pad(shares, (left, right, top, bottom), mode="replicate").view(-1, *canvas.shape)
    reader = PixelReader(reads, scale) if margin else None
    height = max(1, _STRIP_CELLS // (_SIDE * _SIDE * columns))
    for first in range(0, rows, height):
        part = canvas[first : first + height]
        part_shares = None if shares is None else shares[:, first : first + height]
        strip = F.embedding(corners[first * _SIDE : (first + len(part)) * _SIDE + 1 + 2 * margin], table)
        masks = strip.sigmoid()
        lowest, highest = (masks, masks) if not margin else (_spread(torch.minimum, masks), _spread(torch.maximum, masks))
        if margin:
            strip = strip[1:-1, 1:-1].contiguous()
        low, high = _block_range(torch.minimum, lowest), _block_range(torch.maximum, highest)
        if part_shares is not None:
            low, high = _times_shares(low, high, part_shares.permute(1, 4, 2, 3, 5, 6, 0).flatten(0, 1).flatten(1, 4))
        best, is_open, possible = _bounds(low, high, weights, slack, _CONTESTED_BLOCKS)
        part.copy_(best.view(len(part), 1, 1, columns, 1, 1))
        for blocks in torch.split(is_open.nonzero()[:, 0], _OPEN_BLOCKS) if len(possible) else ():
            y, x = blocks // columns, blocks % columns
            block_shares = None if part_shares is None else part_shares[:, y, :, :, x]
            open_blocks = _Blocks(y, x, first, strip, lowest, highest, block_shares, reader, (top, left))
            _write_blocks(part, open_blocks, weights[possible], possible, slack)
    label = canvas.view(rows * _SIDE * scale[0], columns * _SIDE * scale[1])
    return label[top : top + image_size[0], left : left + image_size[1]].long().contiguous()


class _Blocks(NamedTuple):
    """Open blocks of a strip.

    Attributes:
        y: row of each block in the strip.
        x: column of each block.
        first: row of blocks at which the strip begins.
        strip: (rows * side + 1, columns * side + 1, Q) mask logits at the corners of all cells.
        lowest, highest: bounds of the sigmoid masks around these corners.
        shares: (blocks, S, side, scale, side, scale) weights of the S sets of masks at the pixels of the blocks.
        reader: reader of pixels; ``None``: masks are those of the strip.
        offset: pixels of the first cell above and left of the image.
    """

    y: Tensor
    x: Tensor
    first: int
    strip: Tensor
    lowest: Tensor
    highest: Tensor
    shares: Tensor | None
    reader: PixelReader | None
    offset: Size


def _write_blocks(canvas: Tensor, blocks: _Blocks, weights: Tensor, classes: Tensor, slack: float) -> None:
    """Write the classes of open blocks.

    Args:
        canvas: (rows, side, scale, columns, side, scale) pixels; written.
        blocks: open blocks.
        weights: (c, Q) of the classes that may win.
        classes: (c,) indices of these classes.
        slack: see :func:`_bounds`.
    """
    scale, shares = (canvas.shape[2], canvas.shape[5]), blocks.shares
    side, width = torch.arange(_SIDE + 1), blocks.strip.shape[1]
    corners = (blocks.y * width + blocks.x)[:, None, None] * _SIDE + side[:, None] * width + side
    points = F.embedding(corners, blocks.lowest.flatten(0, 1))
    low = _cell_range(torch.minimum, points)
    high = _cell_range(torch.maximum, points if blocks.reader is None else F.embedding(corners, blocks.highest.flatten(0, 1)))
    if shares is not None:
        low, high = _times_shares(low, high, shares.permute(0, 2, 4, 3, 5, 1).flatten(0, 2).flatten(1, 2))
    best, is_open, possible = _bounds(low, high, weights, slack, _CONTESTED_CELLS)
    canvas[blocks.y, :, :, blocks.x] = classes[best].view(-1, _SIDE, 1, _SIDE, 1).to(canvas.dtype)
    if not len(possible):
        return
    weights, classes = weights[possible], classes[possible]
    for cells in torch.split(is_open.view(-1, _SIDE, _SIDE).nonzero(), max(1, _OPEN_PIXELS // (scale[0] * scale[1]))):
        block, down, right = cells.unbind(1)
        pixels = _cell_pixels(blocks.strip, corners[block, down, right], scale)
        if blocks.reader is not None:
            rows = ((blocks.first + blocks.y[block]) * _SIDE + down) * scale[0] - blocks.offset[0]
            columns = (blocks.x[block] * _SIDE + right) * scale[1] - blocks.offset[1]
            y = (rows + torch.arange(scale[0])[:, None])[:, None].expand(-1, scale[1], -1)
            x = (columns + torch.arange(scale[1])[:, None]).expand(scale[0], -1, -1)
            blocks.reader.write(pixels.flatten(0, 1), y.flatten(), x.flatten())
        if shares is not None:
            pixels *= _per_mask(shares[block, :, down, :, right].permute(2, 3, 0, 1).flatten(0, 1), pixels.shape[-1])
        winners = classes[(weights @ pixels.mT).max(1).indices]
        canvas[blocks.y[block], down, :, blocks.x[block], right] = winners.T.reshape(-1, *scale).to(canvas.dtype)


def _times_shares(low: Tensor, high: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the ranges (n, Q) of masks in n regions by those of their weights, (n, pixels, S)."""
    smallest, largest = shares.amin(1), shares.amax(1)
    return low * _per_mask(smallest, low.shape[1]), high * _per_mask(largest, high.shape[1])


def _per_mask(shares: Tensor, masks: int) -> Tensor:
    """Repeat weights (..., S) of sets of masks for each of their masks, (..., Q)."""
    return shares.repeat_interleave(masks // shares.shape[-1], -1)


def _block_range(extreme: Extreme, masks: Tensor) -> Tensor:
    """Return the extreme of masks (rows * side + 1, columns * side + 1, Q) in each block, (rows * columns, Q)."""
    values = reduce(extreme, (masks[i : len(masks) - _SIDE + i : _SIDE] for i in range(_SIDE + 1)))
    values = reduce(extreme, (values[:, i : masks.shape[1] - _SIDE + i : _SIDE] for i in range(_SIDE + 1)))
    return values.flatten(0, 1)


def _cell_range(extreme: Extreme, points: Tensor) -> Tensor:
    """Return the extreme in each cell of blocks (blocks, side + 1, side + 1, Q), (blocks * side * side, Q)."""
    values = extreme(points[:, :-1], points[:, 1:])
    return extreme(values[:, :, :-1], values[:, :, 1:]).flatten(0, 2)


def _spread(extreme: Extreme, masks: Tensor) -> Tensor:
    """Return the extreme of masks (rows, columns, Q) over 3 x 3 points, (rows - 2, columns - 2, Q)."""
    values = reduce(extreme, (masks[i : len(masks) - 2 + i] for i in range(3)))
    return reduce(extreme, (values[:, i : masks.shape[1] - 2 + i] for i in range(3)))


def _bounds(low: Tensor, high: Tensor, weights: Tensor, slack: float, least: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bound the scores of n regions.

    Args:
        low: (n, Q), minimum of each mask.
        high: (n, Q), maximum of each mask; overwritten.
        weights: (K, Q).
        slack: rounding error of scores.
        least: minimum number of undecided regions with the same likely winner for which its lead over each class is bounded.

    Returns:
        Class (n,) of the best lower bound, whether another class may win (n,), and the classes that may win such regions.
    """
    doubled, spread = low + high, high.sub_(low)
    middle, reach = weights @ doubled.T, weights.abs() @ spread.T
    lower, best = (middle - reach).max(0)  # twice the bounds: halving is left out
    upper = middle.add_(reach)
    upper.scatter_(0, best[None], -torch.inf)
    lower -= 2 * slack
    is_open = upper.amax(0) >= lower
    regions = is_open.nonzero()[:, 0]
    winners, threats = best[regions], upper[:, regions] >= lower[regions]
    for winner in (winners.bincount(minlength=len(weights)) >= least).nonzero()[:, 0].tolist():
        mine = (winners == winner).nonzero()[:, 0]
        # Their common part cancels; separate bounds on both count it twice.
        behind = weights - weights[winner]
        lead = behind @ doubled[regions[mine]].T + behind.abs() @ spread[regions[mine]].T
        lead[winner] = -torch.inf
        threats[:, mine] = lead >= -2 * slack
    is_open[regions] = threatened = threats.any(0)
    possible = threats.any(1)
    possible[winners[threatened]] = True
    return best, is_open, possible.nonzero()[:, 0]


def _cell_pixels(strip: Tensor, corners: Tensor, scale: Size) -> Tensor:
    """Upsample cells bilinearly (align_corners=False): sigmoid masks (scale * scale, cells, Q) of their pixels.

    Args:
        strip: (rows, columns, Q) mask logits.
        corners: (cells,), index of the upper left corner of each cell.
        scale: pixels of a cell.
    """
    # Positions of a cell's pixels between its two grid points, 0..1.
    down, right = ((torch.arange(n, device=strip.device, dtype=strip.dtype) + 0.5 + n // 2 - n / 2) / n for n in scale)
    vertical, horizontal = torch.stack((1 - down, down), 1), torch.stack((1 - right, right), 1)
    # A product with the four corners is much faster than broadcasting over a few pixels.
    bilinear = (vertical[:, None, :, None] * horizontal[None, :, None, :]).reshape(-1, 4)
    width = strip.shape[1]
    values = F.embedding(corners + torch.tensor([[0], [1], [width], [width + 1]]), strip.flatten(0, 1))
    return (bilinear @ values.flatten(1)).sigmoid_().view(-1, *values.shape[1:])
