"""The best class of every pixel without the scores of all: what the label map needs, and nothing more.

A class wins a pixel if its score, the class-weighted sum of the queries' masks, is the largest. Between the pixels of the mask
grid no upsampled mask leaves the range of its four neighbours, so bounds on all scores of such a cell take two matrix products
at the grid's size. Where one class's lower bound is above every other's upper bound, the cell is done; the others are upsampled.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from src.structures import Size

_STRIP_CELLS = 2048  # cells of which bounds are computed at a time: 100 masks of them fit into a core's cache
_OPEN_PIXELS = 4096  # pixels of undecided cells that are upsampled at a time
_BAND_PIXELS = 16384  # pixels whose scores exist at a time where the result has another size than the image
_ROUNDING = 2.0**-18  # of the sum of all weights: far above what float32 sums err, far below what matters


def label_map(classes: Tensor, mask_logits: Tensor, padded_size: Size, image_size: Size, size: Size) -> Tensor:
    """The class of the largest score at every pixel, as :func:`src.ops.masks.semantic_scores` defines scores.

    Pixels whose two best scores differ by no more than float rounding may take either class.

    Args:
        classes: (Q, K) probabilities, "no object" left out, float32.
        mask_logits: (Q, h, w), float32.
        padded_size: (H, W) that the mask grid covers.
        image_size: (H, W) of the image, at its top left.
        size: (H, W) of the result.

    Returns:
        (H, W) int64.
    """
    scales = [whole / grid for whole, grid in zip(padded_size, mask_logits.shape[-2:], strict=True)]
    # Undecided cells are collected, which an accelerator would have to wait for.
    if tuple(size) == tuple(image_size) and all(scale.is_integer() for scale in scales) and mask_logits.device.type == "cpu":
        return _by_cells(classes, mask_logits, (int(scales[0]), int(scales[1])), image_size)
    return _by_bands(classes, mask_logits, padded_size, image_size, size)


def _by_cells(classes: Tensor, mask_logits: Tensor, scale: Size, image_size: Size) -> Tensor:
    """The label map at the image's size, cell by cell where bounds decide."""
    # A number subtracted from all classes of a query changes every score alike. The smaller the weights, the tighter the bounds.
    weights = (classes - (classes.amax(1, keepdim=True) + classes.amin(1, keepdim=True)) / 2).T.contiguous()
    magnitudes = weights.abs()
    slack = _ROUNDING * float(magnitudes.sum(1).max())
    # Pixels before the first and after the last centre of the grid repeat it, so the grid is repeated at its border.
    logits = F.pad(mask_logits[None], (1, 1, 1, 1), mode="replicate")[0]
    rows, columns = logits.shape[-2] - 1, logits.shape[-1] - 1
    canvas = torch.empty(rows, scale[0], columns, scale[1], dtype=torch.int64)
    # The first cell begins half a cell before the image.
    top, left = scale[0] - scale[0] // 2, scale[1] - scale[1] // 2
    last_row, last_column = (image_size[0] + top - 1) // scale[0], (image_size[1] + left - 1) // scale[1]
    for first in range(0, last_row + 1, max(1, _STRIP_CELLS // columns)):
        end = min(first + max(1, _STRIP_CELLS // columns), last_row + 1)
        strip = logits[:, first : end + 1, : last_column + 2]
        best, is_open, possible = _bounds(strip, weights, magnitudes, slack)
        canvas[first:end, :, : last_column + 1] = best[:, None, :, None]
        if possible is not None:
            candidates = possible.nonzero().flatten()
            chosen = weights[candidates]
            for y, x in _blocks(is_open, max(1, _OPEN_PIXELS // (scale[0] * scale[1]))):
                pixels = _cell_pixels(strip, y, x, scale)
                winners = (chosen @ pixels).max(1).indices
                canvas[first + y, :, x] = candidates[winners].T.reshape(len(y), *scale)
    whole = canvas.view(rows * scale[0], columns * scale[1])
    return whole[top : top + image_size[0], left : left + image_size[1]].contiguous()


def _bounds(strip: Tensor, weights: Tensor, magnitudes: Tensor, slack: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """Which class wins each cell of a strip (Q, rows + 1, columns + 1) of the padded grid, and whether that is certain.

    Returns:
        The class (rows, columns) of the best lower bound, where another may still win (rows, columns), and which classes (K,) may
        win an open cell; ``None`` if no cell is open.
    """
    masks = strip.sigmoid()
    low, high = torch.minimum(masks[:, :-1], masks[:, 1:]), torch.maximum(masks[:, :-1], masks[:, 1:])
    low, high = torch.minimum(low[..., :-1], low[..., 1:]), torch.maximum(high[..., :-1], high[..., 1:])
    rows, columns = low.shape[1:]
    middle = weights @ low.add(high).flatten(1)
    spread = magnitudes @ high.sub_(low).flatten(1)
    # Twice the bounds: halving is left out.
    lower, best = (middle - spread).max(0)
    upper = middle.add_(spread)
    upper.scatter_(0, best[None], -torch.inf)
    reach = lower - 2 * slack
    is_open = upper.amax(0) >= reach
    if not bool(is_open.any()):
        return best.view(rows, columns), is_open.view(rows, columns), None
    possible = (upper[:, is_open] >= reach[is_open]).any(1)
    possible[best[is_open]] = True
    return best.view(rows, columns), is_open.view(rows, columns), possible


def _blocks(is_open: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and columns of the open cells, a few at a time."""
    for block in torch.split(is_open.nonzero(), length):
        yield block[:, 0], block[:, 1]


def _cell_pixels(strip: Tensor, y: Tensor, x: Tensor, scale: Size) -> Tensor:
    """Sigmoid masks (scale * scale, Q, cells) of the pixels of cells, as bilinear upsampling (align_corners=False) has them."""
    down, right = (_fractions(one, strip) for one in scale)
    vertical, horizontal = torch.stack((1 - down, down), 1), torch.stack((1 - right, right), 1)
    # As a product with the four corners, which no broadcasting over a few pixels comes close to.
    bilinear = (vertical[:, None, :, None] * horizontal[None, :, None, :]).reshape(-1, 4)
    place = y * strip.shape[2] + x
    grid = strip.flatten(1)
    corners = torch.stack([grid[:, place + shift] for shift in (0, 1, strip.shape[2], strip.shape[2] + 1)])
    return (bilinear @ corners.flatten(1)).sigmoid_().view(-1, len(strip), len(y))


def _fractions(scale: int, like: Tensor) -> Tensor:
    """Where the pixels of a cell lie between its two grid points."""
    return (torch.arange(scale, device=like.device, dtype=like.dtype) + 0.5 + scale // 2 - scale / 2) / scale


def _by_bands(classes: Tensor, mask_logits: Tensor, padded_size: Size, image_size: Size, size: Size) -> Tensor:
    """The label map at any size, a band of rows at a time, so that scores of few rows exist at once."""
    result = torch.empty(size, dtype=torch.int64, device=mask_logits.device)
    weights = classes.T.contiguous()
    image_rows = _rows(padded_size[0], mask_logits.shape[-2], mask_logits)
    result_rows = _rows(size[0], image_size[0], mask_logits)
    height = max(1, _BAND_PIXELS // max(size[1], image_size[1]))
    for first in range(0, size[0], height):
        last = min(first + height, size[0]) - 1
        above, below, fraction = (values[first : last + 1] for values in result_rows)
        # In Python, not read from the tensors: an accelerator would have to be waited for.
        start, end = _source_row(first, size[0], image_size[0]), _source_row(last, size[0], image_size[0]) + 1
        if size[0] != image_size[0]:
            end = min(end + 1, image_size[0])
        scores = _band_scores(weights, mask_logits, [values[start:end] for values in image_rows], padded_size[1], image_size[1])
        if size[1] != image_size[1]:
            scores = F.interpolate(scores[None], (end - start, size[1]), mode="bilinear", align_corners=False)[0]
        if size[0] != image_size[0]:
            scores = torch.lerp(scores[:, above - start], scores[:, below - start], fraction[:, None])
        result[first : last + 1] = scores.max(0).indices
    return result


def _band_scores(weights: Tensor, mask_logits: Tensor, rows: list[Tensor], padded_width: int, width: int) -> Tensor:
    """Scores (K, rows, W) of some rows of the image."""
    above, below, fraction = rows
    masks = torch.lerp(mask_logits[:, above], mask_logits[:, below], fraction[:, None])
    masks = F.interpolate(masks[None], (len(above), padded_width), mode="bilinear", align_corners=False)[0]
    masks = masks[..., :width].sigmoid()
    return (weights @ masks.flatten(1)).view(-1, len(above), width)


def _rows(length: int, source: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two source rows of every row of a bilinear resize (align_corners=False), and the weight of the second."""
    # In whole numbers, which every device and Python reckon alike.
    halves = ((2 * torch.arange(length, device=like.device) + 1) * source - length).clamp(min=0)
    above = halves // (2 * length)
    return above, (above + 1).clamp(max=source - 1), (halves % (2 * length)).to(like.dtype) / (2 * length)


def _source_row(row: int, length: int, source: int) -> int:
    """The first of the two source rows of a row, as :func:`_rows` has it."""
    return max((2 * row + 1) * source - length, 0) // (2 * length)
