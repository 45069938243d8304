"""Which points of an image a mask loss looks at, and what it reads there.

Convention:
    points are (x, y) as fractions of the padded image, 0..1; maps are read bilinearly with pixel centres at (i + 0.5) / size
    (align_corners=False). Beyond the outermost centres ``border`` repeats the edge and ``zeros`` fades to zero.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Padding = Literal["border", "zeros"]


class PointDraws(NamedTuple):
    """The random points of one image, every decoder layer with its own; all masks of a layer share them.

    Attributes:
        matching: (L, P, 2), uniform; the matching costs are measured there.
        candidates: (L, P * oversample_ratio, 2), uniform; every mask keeps its most uncertain ones.
        extra: (L, P * (1 - importance_ratio), 2), uniform; kept by all masks.
    """

    matching: Tensor
    candidates: Tensor
    extra: Tensor

    def to(self, device: torch.device) -> PointDraws:
        """The same draws on another device."""
        return PointDraws(*(points.to(device, non_blocking=True) for points in self))


def draw_points(
    seed: int, sample_id: int, layers: int, num_points: int, oversample_ratio: float, importance_ratio: float
) -> PointDraws:
    """Draw the points of one image; a pure function of its arguments, on the CPU.

    Args:
        seed: of the run.
        sample_id: number of the sample in the run.
        layers: L.
        num_points: P, points per mask that the loss reads.
        oversample_ratio: candidates per point.
        importance_ratio: share of the points that are chosen by uncertainty.
    """
    # The CPU generator keeps only the low 32 bits of a seed: hash the pair instead of packing it.
    key = np.random.SeedSequence([seed % 2**64, sample_id % 2**64]).generate_state(1)
    generator = torch.Generator().manual_seed(int(key[0]))
    counts = (num_points, int(num_points * oversample_ratio), num_points - int(num_points * importance_ratio))
    return PointDraws(*(torch.rand(layers, count, 2, generator=generator) for count in counts))


def read_points(maps: Tensor, points: Tensor, padding: Padding) -> Tensor:
    """Read maps (N, C, h, w) at points (N, P, 2): (N, C, P)."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, mode="bilinear", padding_mode=padding, align_corners=False).squeeze(-1)


class LabelReading(NamedTuple):
    """A label map read at points: the four pixels around each point and their bilinear weights.

    Reading the label itself instead of one binary mask per class and layer keeps the memory independent of both.

    Attributes:
        values: (4, N, P) uint8.
        weights: (4, N, P) float32.
    """

    values: Tensor
    weights: Tensor

    def share(self, classes: Tensor) -> Tensor:
        """What the binary masks of ``classes`` (N or 1, n) are at the points: (N, n, P), 0..1."""
        wanted = classes[..., None].to(self.values.dtype)
        shares = torch.zeros((), device=self.weights.device)
        for value, weight in zip(self.values, self.weights, strict=True):
            shares = shares + (value[:, None] == wanted) * weight[:, None]
        return shares


def read_label(label: Tensor, points: Tensor, padding: Padding) -> LabelReading:
    """Read a label map (H, W) uint8 at points (N, P, 2).

    Bytes and 32-bit indices are for speed: int64 ones took a third of the whole loss on a CPU.
    """
    columns = _neighbours(points[..., 0], label.shape[1], padding)
    rows = _neighbours(points[..., 1], label.shape[0], padding)
    index = torch.stack([row * label.shape[1] + column for row, _ in rows for column, _ in columns])
    weights = torch.stack([row_weight * column_weight for _, row_weight in rows for _, column_weight in columns])
    return LabelReading(label.reshape(-1).index_select(0, index.reshape(-1)).reshape(index.shape), weights)


def _neighbours(fraction: Tensor, size: int, padding: Padding) -> list[tuple[Tensor, Tensor]]:
    """The two pixels around each position along one axis: index (int32, inside) and weight."""
    position = fraction * size - 0.5
    before = position.floor()
    weight = position - before
    pairs = [(before, 1 - weight), (before + 1, weight)]
    if padding == "zeros":
        pairs = [(pixel, weight * ((pixel >= 0) & (pixel < size))) for pixel, weight in pairs]
    return [(pixel.clamp(0, size - 1).int(), weight) for pixel, weight in pairs]


def uncertain_points(draws: PointDraws, logits: Tensor, usable: Tensor | None, count: int) -> Tensor:
    """Choose for every mask the ``count`` candidates nearest to its edge, and add the extra points (PointRend's sampling).

    Args:
        draws: of this image.
        logits: (L, m, candidates), the masks' logits at the candidates.
        usable: (L, candidates) bool; others are taken only where there are too few usable ones. ``None``: all are usable.
        count: how many to choose by uncertainty, the smallest absolute logit first.

    Returns:
        (L, m, count + extra, 2).
    """
    layers, masks, _ = logits.shape
    distance = logits.abs()
    if usable is not None:
        distance = distance.masked_fill(~usable[:, None], torch.inf)
    chosen = distance.topk(count, dim=-1, largest=False, sorted=False).indices
    index = chosen.reshape(layers, masks * count, 1).expand(-1, -1, 2)
    nearest = draws.candidates.gather(1, index).reshape(layers, masks, count, 2)
    return torch.cat((nearest, draws.extra[:, None].expand(-1, masks, -1, -1)), dim=2)
