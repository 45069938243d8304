"""Label maps and scores of dense predictions: one map of scores per class, on any grid, read where each pixel comes from."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from src.ops.label_map.reads import neighbors, read_masks
from src.structures import Size

_BLOCK = 16  # classes at once, on the grid of the result
_CELLS = 8  # side of the blocks of cells whose bounds are compared
_PIXELS = 1 << 16  # undecided pixels at once, with the scores of all classes


class DenseSource(NamedTuple):
    """Scores that one key frame gives to a frame.

    Attributes:
        logits: (K, h, w), float32, on a grid that covers the image.
        flow: (2, H, W), from each pixel of the result to its source, pixels of the result; ``None``: its own place.
        share: (H, W) in 0..1, weight of the source; ``None``: 1.
    """

    logits: Tensor
    flow: Tensor | None = None
    share: Tensor | None = None


def dense_scores(sources: Sequence[DenseSource], size: Size) -> Float32[Tensor, "K {size[0]} {size[1]}"]:
    """Return the weighted sum of the sources' scores at every pixel of the result, (H, W) = ``size``."""
    total: Tensor | None = None
    for source in sources:
        scores = _read(source, source.logits, size)
        scores = scores if source.share is None else scores * source.share
        total = scores if total is None else total + scores
    assert total is not None
    return total


def dense_label_map(sources: Sequence[DenseSource], size: Size) -> Int64[Tensor, "{size[0]} {size[1]}"]:
    """Return the class of the largest of :func:`dense_scores`, without storing the scores.

    For a single source without a flow, these are the bits of ``F.interpolate`` and ``argmax``. With several sources, or a flow,
    pixels whose two best scores differ by no more than float rounding may take either class.
    """
    first = sources[0]
    if len(sources) > 1 or first.flow is not None:
        # An accelerator would have to wait while undecided pixels are collected.
        return _by_cells(sources, size) if first.logits.device.type == "cpu" else _by_classes(sources, size)
    # Slices of another memory order are interpolated by another kernel, with other bits.
    if not first.logits.is_contiguous():
        return dense_scores(sources, size).argmax(0)
    classes = _candidates(first.logits).nonzero()[:, 0] if first.logits.device.type == "cpu" else None
    found = _by_classes([first if classes is None else first._replace(logits=first.logits[classes])], size)
    return found if classes is None else classes[found]


def _read(source: DenseSource, logits: Tensor, size: Size) -> Tensor:
    if source.flow is None:
        return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return read_masks(logits[None], source.flow[None], size)[0]


def _by_classes(sources: Sequence[DenseSource], size: Size) -> Tensor:
    """Compare blocks of classes; of equal scores, the first class counts."""
    best: Tensor | None = None
    found = torch.zeros(size, dtype=torch.int64, device=sources[0].logits.device)
    for start in range(0, len(sources[0].logits), _BLOCK):
        block = [source._replace(logits=source.logits[start : start + _BLOCK]) for source in sources]
        values, classes = dense_scores(block, size).max(0)
        if best is None:
            best, found = values, classes
            continue
        better = values > best
        best = torch.where(better, values, best)
        found = torch.where(better, classes + start, found)
    return found


def _candidates(logits: Tensor) -> Tensor:
    """Return (K,), whether a class may win anywhere: interpolated scores lie between those of the cells around."""
    if min(logits.shape[1:]) < 2:
        return torch.ones(len(logits), dtype=torch.bool)
    # Blocks of cells, and the row and column after each.
    highest, lowest = (sign * F.max_pool2d(sign * logits, _CELLS + 1, _CELLS, ceil_mode=True) for sign in (1, -1))
    # A margin for float rounding.
    slack = 1e-5 * torch.maximum(highest.amax(), -lowest.amin())
    return (highest >= lowest.amax(0) - slack).flatten(1).any(1)


def _agreed(classes: Tensor) -> Tensor:
    """Return the class of each cell of a map (h, w), -1 where the cells to the right, below or between have another."""
    right = torch.cat((classes[:, 1:], classes[:, -1:]), 1)
    same = classes == right
    below = torch.cat((classes[1:], classes[-1:]), 0)
    same &= (classes == below) & (classes == torch.cat((right[1:], right[-1:]), 0))
    return torch.where(same, classes, -1)


def _by_cells(sources: Sequence[DenseSource], size: Size) -> Tensor:
    """Read all classes only at pixels whose sources disagree, or lie between cells of different classes."""
    found: Tensor | None = None
    for source in sources:
        grid = source.logits.shape[-2:]
        agreed = _agreed(source.logits.argmax(0))
        row, column = (
            (place - 0.5).clamp_(0, cells - 1).long() for place, cells in zip(_places(source, size), grid, strict=True)
        )
        one = agreed.view(-1)[row * grid[1] + column]
        found = one if found is None else torch.where(one == found, one, -1)
    assert found is not None
    flat = found.view(-1)
    tables = [source.logits.flatten(1).T.contiguous() for source in sources]
    for part in torch.split((flat < 0).nonzero()[:, 0], _PIXELS):
        flat[part] = _scores_at(sources, tables, size, part).argmax(1)
    return found


def _places(source: DenseSource, size: Size) -> tuple[Tensor, Tensor]:
    """Return rows (H, W) or (H, 1) and columns (H, W) or (1, W) on the grid, for the source of every pixel of the result."""
    places = []
    for axis in (0, 1):
        place = torch.arange(size[axis], dtype=torch.float32).view(-1, 1) if axis == 0 else torch.arange(size[1]) * 1.0
        if source.flow is not None:
            place = (place + source.flow[1 - axis]).clamp_(0, size[axis] - 1)
        places.append((place + 0.5).mul_(source.logits.shape[1 + axis] / size[axis]))
    return places[0], places[1]


def _scores_at(sources: Sequence[DenseSource], tables: Sequence[Tensor], size: Size, pixels: Tensor) -> Tensor:
    """Return the scores (n, K) of pixels (n,), numbered by rows; each source has a table (h * w, K) of its scores."""
    y, x = pixels // size[1], pixels % size[1]
    total: Tensor | None = None
    for source, table in zip(sources, tables, strict=True):
        height, width = source.logits.shape[-2:]
        dx, dy = (0.0, 0.0) if source.flow is None else source.flow.flatten(1)[:, pixels]
        rows = neighbors(y + dy, size[0], size[0] / height, height)
        columns = neighbors(x + dx, size[1], size[1] / width, width)
        corners = torch.stack([row * width + column for row, _ in rows for column, _ in columns], 1)
        weights = torch.stack([down * right for _, down in rows for _, right in columns], 1)
        scores = F.embedding_bag(corners, table, per_sample_weights=weights, mode="sum")
        scores = scores if source.share is None else scores * source.share.reshape(-1)[pixels, None]
        total = scores if total is None else total + scores
    assert total is not None
    return total
