"""Random points at which the mask loss reads masks and labels.

Convention:
    points are (x, y) as fractions of the padded image, 0..1; maps are read bilinearly with pixel centres at (i + 0.5) / size
    (align_corners=False). Beyond the outermost centres ``border`` repeats the edge and ``zeros`` pads with zeros.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

Padding = Literal["border", "zeros"]


class PointSamples(NamedTuple):
    """Random points of one image, different for every decoder layer and shared by all masks of a layer.

    Attributes:
        matching: (L, P, 2), uniform; points of the matching cost.
        candidates: (L, P * oversample_ratio, 2), uniform; each mask uses the most uncertain ones.
        extra: (L, P * (1 - importance_ratio), 2), uniform; used by all masks.
    """

    matching: Tensor
    candidates: Tensor
    extra: Tensor

    def to(self, device: torch.device) -> PointSamples:
        """Copy the points to another device."""
        return PointSamples(*(points.to(device, non_blocking=True) for points in self))


def sample_points(
    seed: int, sample_id: int, layers: int, num_points: int, oversample_ratio: float, importance_ratio: float
) -> PointSamples:
    """Sample the points of one image: a pure function of its arguments, on the CPU.

    Args:
        seed: seed of the run.
        sample_id: number of the sample in the run.
        layers: L.
        num_points: P, points per mask that the loss reads.
        oversample_ratio: candidates per point.
        importance_ratio: share of the points chosen by uncertainty.
    """
    # The CPU generator uses only the low 32 bits of a seed, so the pair is hashed instead of packed.
    key = np.random.SeedSequence([seed % 2**64, sample_id % 2**64]).generate_state(1)
    generator = torch.Generator().manual_seed(int(key[0]))
    counts = (num_points, int(num_points * oversample_ratio), num_points - int(num_points * importance_ratio))
    return PointSamples(*(torch.rand(layers, count, 2, generator=generator) for count in counts))


def read_points(maps: Float[Tensor, "N C h w"], points: Float[Tensor, "N P 2"], padding: Padding) -> Float[Tensor, "N C P"]:
    """Read maps at points, bilinearly."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, mode="bilinear", padding_mode=padding, align_corners=False).squeeze(-1)


class LabelReading(NamedTuple):
    """Label map read at points: the four pixels around each point and their bilinear weights.

    Memory is independent of the numbers of classes and layers, because no binary masks are built.

    Attributes:
        values: (4, N, P) uint8.
        weights: (4, N, P) float32.
    """

    values: Tensor
    weights: Tensor

    def share(self, classes: Int64[Tensor, "_ n"]) -> Float[Tensor, "N n P"]:
        """Return the values, 0..1, of the binary masks of ``classes`` (N or 1, n) at the points."""
        wanted = classes[..., None].to(self.values.dtype)
        shares = torch.zeros((), device=self.weights.device)
        for value, weight in zip(self.values, self.weights, strict=True):
            shares = shares + (value[:, None] == wanted) * weight[:, None]
        return shares


def read_label(label: UInt8[Tensor, "H W"], points: Float[Tensor, "N P 2"], padding: Padding) -> LabelReading:
    """Read a label map at points.

    Bytes and 32-bit indices are for speed: with int64, reading took a third of the whole loss on a CPU.
    """
    columns = _neighbours(points[..., 0], label.shape[1], padding)
    rows = _neighbours(points[..., 1], label.shape[0], padding)
    index = torch.stack([row * label.shape[1] + column for row, _ in rows for column, _ in columns])
    weights = torch.stack([row_weight * column_weight for _, row_weight in rows for _, column_weight in columns])
    return LabelReading(label.reshape(-1).index_select(0, index.reshape(-1)).reshape(index.shape), weights)


def _neighbours(fraction: Tensor, size: int, padding: Padding) -> list[tuple[Tensor, Tensor]]:
    """Return the two pixels around each position along one axis: index (int32, inside) and weight."""
    position = fraction * size - 0.5
    before = position.floor()
    weight = position - before
    pairs = [(before, 1 - weight), (before + 1, weight)]
    if padding == "zeros":
        pairs = [(pixel, weight * ((pixel >= 0) & (pixel < size))) for pixel, weight in pairs]
    return [(pixel.clamp(0, size - 1).int(), weight) for pixel, weight in pairs]


def uncertain_points(
    samples: PointSamples, logits: Float[Tensor, "L m N"], usable: Bool[Tensor, "L N"] | None, count: int
) -> Float[Tensor, "L m P 2"]:
    """Choose for every mask the ``count`` candidates nearest to its edge, and add the extra points (PointRend's sampling).

    Args:
        samples: points of this image.
        logits: the masks' logits at the N candidates.
        usable: candidates to prefer; others are chosen only if these are too few. ``None``: all candidates are usable.
        count: number of points chosen by uncertainty, smallest absolute logit first.

    Returns:
        P = count + extra points of each mask.
    """
    layers, masks, _ = logits.shape
    distance = logits.abs()
    if usable is not None:
        distance = distance.masked_fill(~usable[:, None], torch.inf)
    chosen = distance.topk(count, dim=-1, largest=False, sorted=False).indices
    index = chosen.reshape(layers, masks * count, 1).expand(-1, -1, 2)
    nearest = samples.candidates.gather(1, index).reshape(layers, masks, count, 2)
    return torch.cat((nearest, samples.extra[:, None].expand(-1, masks, -1, -1)), dim=2)
