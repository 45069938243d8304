"""Decomposition of a labelled still into planar layers that stand on, lie in or are far behind a ground plane.

Convention:
    pixel centers are at integer positions, x right, y down. The camera is a pinhole with the principal point in the middle of the
    image. A plane is a vector ``m`` such that ``m . ray(p)`` is the inverse depth at pixel p, with
    ``ray = ((x - cx) / f, (y - cy) / f, 1)``; ``m = 0`` is infinitely far. Lengths are in camera heights above the ground.
"""

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from src.data.synthetic.segments import Bytes, Floats, Ints, Segments
from src.structures import IGNORE_INDEX

BIG = 0.04
"""Smallest share of the image of a background segment, which may be ground or sky without a class for it."""
SMALL = 0.015
"""Share of the image below which a segment above a non-ground segment is placed in front of it."""
FARTHEST_UPRIGHT = 0.012
"""Smallest inverse depth of an upright segment: about 120 m for a camera in a car."""


@dataclass(frozen=True)
class Layers:
    """Segments as planes in space.

    Attributes:
        segments: the partition.
        planes: (N, 3), plane vectors.
        depth_rank: (N,) int32, painting order: a layer hides all layers of lower rank.
        background: (N,) bool, layers that continue behind the others.
        movable: (N,) bool, layers that may move by themselves.
        fixed: (N,) bool, layers that move with the camera.
        focal: focal length in pixels.
    """

    segments: Segments
    planes: Floats
    depth_rank: Ints
    background: NDArray[np.bool_]
    movable: NDArray[np.bool_]
    fixed: NDArray[np.bool_]
    focal: float


def fit_planes(
    segments: Segments,
    ground_classes: Collection[int],
    far_classes: Collection[int],
    depth_spread: float,
    rng: np.random.Generator,
) -> Layers:
    """Fit a plane to every segment: on the ground, infinitely far, or upright where its lowest pixel meets the ground.

    Args:
        segments: the partition.
        ground_classes: classes that lie on the ground; if empty, large segments at the lower border usually do.
        far_classes: classes at infinity; if empty, large segments at the upper border often are.
        depth_spread: standard deviation of the logarithm of an upright segment's depth around its contact point's.
        rng: source of every random choice.
    """
    height, width = segments.index.shape
    focal = float(rng.uniform(0.7, 1.2) * max(height, width))
    ground, far = _ground_and_far(segments, ground_classes, far_classes, rng)
    horizon = _horizon(segments, ground, rng)
    lowest = segments.boxes[:, 1] + segments.boxes[:, 3] - 1
    planes = np.zeros((len(segments), 3))
    tilt = float(rng.normal(0, 0.03))
    for i in np.argsort(-lowest, kind="stable"):
        spread = float(np.exp(rng.normal(0, depth_spread)))
        slant, fitted = float(rng.normal(0, 0.15)), bool(rng.random() < 0.7)
        if far[i]:
            continue
        if ground[i]:
            planes[i] = (tilt, 1.0, ((height - 1) / 2 - horizon) / focal)
            continue
        depth, slope = _contact(segments, int(i), ground, planes, horizon, focal, fitted)
        depth = float(np.clip(depth * spread, FARTHEST_UPRIGHT, 0.7))
        left, _, wide, _ = segments.boxes[i]
        middle = (left + wide / 2 - (width - 1) / 2) / focal
        # A larger slope would move the far end of the segment to infinity.
        limit = 0.7 * depth / max(wide / 2 / focal, 1e-6)
        slope = float(np.clip(slope * spread if fitted else slant * depth, -limit, limit))
        planes[i] = (slope, 0.0, depth - slope * middle)
    inverse_depth = planes[:, 2] + planes[:, 0] * (segments.boxes[:, 0] + segments.boxes[:, 2] / 2 - (width - 1) / 2) / focal
    # Void along the lower border is the car that carries the camera (ego vehicle in Cityscapes): fixed, in front of all.
    fixed = (segments.classes == IGNORE_INDEX) & (lowest == height - 1) & (segments.boxes[:, 2] >= 0.3 * width) & ~ground
    fixed &= segments.boxes[:, 3] < 0.5 * height
    # Uprights hide the ground, and the ground hides far segments, so that no segment sinks into its support.
    order = np.lexsort((segments.boxes[:, 1], inverse_depth, np.select([fixed, far, ground], [3, 0, 1], 2)))
    rank = np.empty(len(segments), np.int32)
    rank[order] = np.arange(len(segments), dtype=np.int32)
    background = ground | far | ((segments.areas >= BIG * height * width) & ~fixed)
    background[np.argmax(segments.areas)] = True
    movable = ~(ground | far | fixed) & (segments.areas < 2 * BIG * height * width)
    return Layers(segments, planes, rank, background, movable, fixed, focal)


def extend_background(still: Bytes, layers: Layers) -> tuple[Ints, Bytes]:
    """Fill the foreground by mirroring in the nearest background layer: layer of every pixel (H, W), and image (H, W, 3)."""
    index = layers.segments.index
    height, width = index.shape
    hidden = ~layers.background[index]
    coarse = hidden[::2, ::2].astype(np.uint8)
    if not hidden.any() or coarse.all():
        return index, still
    _, numbers = cv2.distanceTransformWithLabels(coarse, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    seeds = np.flatnonzero(coarse.ravel() == 0)
    seed_of = np.zeros(int(numbers.max()) + 1, np.int64)
    seed_of[numbers.ravel()[seeds]] = seeds
    spots = np.flatnonzero(hidden.ravel())
    row, column = np.divmod(spots, width)
    near_row, near_column = np.divmod(seed_of[numbers[row // 2, column // 2]], coarse.shape[1])
    near_row, near_column = 2 * near_row, 2 * near_column
    nearest = near_row * width + near_column
    mirrored = (2 * near_row - row).clip(0, height - 1) * width + (2 * near_column - column).clip(0, width - 1)
    mirrored = np.where(hidden.ravel()[mirrored], nearest, mirrored)
    extended, image = index.copy(), still.copy()
    extended.ravel()[spots] = index.ravel()[nearest]
    image.reshape(-1, 3)[spots] = still.reshape(-1, 3)[mirrored]
    return extended, image


def _ground_and_far(
    segments: Segments, ground_classes: Collection[int], far_classes: Collection[int], rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    height, width = segments.index.shape
    big = segments.areas >= BIG * height * width
    chance = rng.random((2, len(segments)))
    top = segments.boxes[:, 1] == 0
    bottom = segments.boxes[:, 1] + segments.boxes[:, 3] == height
    ground = np.isin(segments.classes, list(ground_classes)) if ground_classes else big & bottom & ~top & (chance[0] < 0.8)
    far = np.isin(segments.classes, list(far_classes)) if far_classes else big & top & ~bottom & (chance[1] < 0.5)
    return ground, far & ~ground


def _horizon(segments: Segments, ground: NDArray[np.bool_], rng: np.random.Generator) -> float:
    """Draw the row of the horizon in pixels, slightly above the ground if there is any."""
    height = segments.index.shape[0]
    row = rng.uniform(0.3, 0.55) * height
    big = ground & (segments.areas >= SMALL * segments.index.size)
    if big.any():
        row = min(float(segments.boxes[big, 1].min()), 0.7 * height) - rng.uniform(0.0, 0.08) * height
    return float(max(row, 0.1 * height))


def _contact(
    segments: Segments,
    i: int,
    ground: NDArray[np.bool_],
    planes: Floats,
    horizon: float,
    focal: float,
    fitted: bool,
) -> tuple[float, float]:
    """Return the inverse depth of an upright segment at its middle column, and its slope over x / focal."""
    height, width = segments.index.shape
    x, y, wide, tall = (int(v) for v in segments.boxes[i])
    row = y + tall - 1
    depth = max((row - horizon) / focal, FARTHEST_UPRIGHT)
    touching = np.flatnonzero(segments.index[row, x : x + wide] == i)
    column = x + int(touching[len(touching) // 2])
    below = int(segments.index[min(row + 2, height - 1), column])
    if below != i and not ground[below] and segments.areas[i] < SMALL * height * width:
        ray = np.array([(column - (width - 1) / 2) / focal, (row - (height - 1) / 2) / focal, 1.0])
        return max(depth, 1.05 * float(planes[below] @ ray)), 0.0
    if not fitted or wide < 0.2 * width:
        return depth, 0.0
    columns = np.linspace(x, x + wide - 1, 9).astype(int)
    inside = segments.index[y : y + tall, columns] == i
    rows = y + tall - 1 - np.argmax(inside[::-1], axis=0)
    touches = inside.any(axis=0) & (rows > horizon)
    if touches.sum() < 4:
        return depth, 0.0
    rays = (columns[touches] - (width - 1) / 2) / focal
    slope, _ = np.polyfit(rays, (rows[touches] - horizon) / focal, 1)
    return max(float(np.median((rows[touches] - horizon) / focal)), FARTHEST_UPRIGHT), float(slope)
