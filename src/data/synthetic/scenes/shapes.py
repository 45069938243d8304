"""Outlines of the object classes of generated scenes.

Convention:
    an object is drawn on its own plane with coordinates u (right) and v (down), in units; its outline is a map of signed
    distances to its edge, negative inside.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from src.data.synthetic.segments import Bytes, Singles

SCENE_CLASSES = ("sky", "ground", "wall", "tree", "ball", "crate", "ring", "pole")
"""Names of the classes 0..7."""
SKY, GROUND, WALL, TREE, BALL, CRATE, RING, POLE = range(8)
OBJECT_KINDS = (TREE, BALL, CRATE, RING, POLE)

_FINENESS = 4
_MAX_SIDE = 2**15 - 2
_MARGIN = 0.12


@dataclass(frozen=True)
class Outline:
    """Sampled shape of an object.

    Attributes:
        distance: (h, w) float32, signed distance to the edge in units, negative inside.
        parts: (h, w) uint8, part of the object at each sample (a tree's trunk is 0 and its crown 1).
        corner: (u, v) of sample (0, 0).
        density: samples per unit.
    """

    distance: Singles
    parts: Bytes
    corner: tuple[float, float]
    density: float

    def sample_positions(self, u: Singles, v: Singles) -> tuple[Singles, Singles]:
        """Convert positions to columns and rows of the sampled maps, for ``cv2.remap``."""
        left, top, density = np.array((*self.corner, self.density), np.float32)
        return (u - left) * density, (v - top) * density

    def at(self, u: Singles, v: Singles) -> Singles:
        """Interpolate the signed distance (units) bilinearly; far outside it is at least the margin around the shape."""
        columns, rows = self.sample_positions(u, v)
        # OpenCV treats a list of positions as a map of one row, of fewer than 2**15 columns.
        border: dict[str, Any] = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": (_MARGIN,)}
        splits = (np.split(at, range(_MAX_SIDE, len(at), _MAX_SIDE)) for at in (columns, rows))
        parts = [
            cv2.remap(self.distance, x, y, cv2.INTER_LINEAR, **border).reshape(x.shape) for x, y in zip(*splits, strict=True)
        ]
        return np.concatenate(parts).astype(np.float32, copy=False)


def outline(kind: int, rng: np.random.Generator) -> Outline:
    """Draw an instance of a class, with its own proportions: within about -1..1 in u and v; a wall, in units, stands at v = 0."""
    if kind == WALL:
        return _wall(rng)
    half_width = 0.45 if kind == POLE else 1.0
    builder = _OutlineBuilder((-half_width, -1.0, half_width, 1.0), 64.0)
    if kind == BALL:
        builder.disk(0, 0, 1.0)
    elif kind == CRATE:
        across, down = (1.0, rng.uniform(0.65, 1.0)) if rng.random() < 0.5 else (rng.uniform(0.65, 1.0), 1.0)
        builder.box(-across, -down, across, down)
    elif kind == RING:
        builder.disk(0, 0, 1.0)
        builder.disk(0, 0, rng.uniform(0.48, 0.62), erase=True)
    elif kind == TREE:
        trunk = rng.uniform(0.06, 0.11)
        builder.box(-trunk, -0.2, trunk, 1.0)
        for angle in np.linspace(0, 2 * np.pi, int(rng.integers(5, 9)), endpoint=False) + rng.uniform(0, 1):
            reach, radius = rng.uniform(0.2, 0.42), rng.uniform(0.22, 0.38)
            builder.disk(1.3 * reach * np.cos(angle), -0.38 + 0.8 * reach * np.sin(angle), radius, part=1)
        builder.disk(0, -0.38, 0.4, part=1)
    elif kind == POLE:
        thickness = rng.uniform(0.04, 0.055)
        builder.box(-thickness, -0.9, thickness, 1.0)
        if rng.random() < 0.5:
            builder.disk(0, -0.8, rng.uniform(0.1, 0.17), part=1)
        else:
            builder.box(-thickness, -0.97, rng.choice([-1, 1]) * rng.uniform(0.25, 0.4), -0.9, part=1)
    else:
        raise ValueError(f"kind {kind} has no outline; expected one of {(WALL, *OBJECT_KINDS)}")
    return builder.outline()


def _wall(rng: np.random.Generator) -> Outline:
    """Draw a facade: a block, sometimes with a gable or battlements and a gate."""
    half, height = rng.uniform(1.0, 3.0), rng.uniform(1.3, 3.0)
    builder = _OutlineBuilder((-half, -height - 0.7, half, 0.0), 40.0)
    builder.box(-half, -height, half, 0.0)
    style = rng.integers(0, 3)
    if style == 1:
        builder.polygon([(-half, -height), (half, -height), (rng.uniform(-0.5, 0.5) * half, -height - 0.65)], part=1)
    if style == 2:
        for left in np.arange(-half, half, 0.8):
            builder.box(left, -height - 0.35, min(left + 0.4, half), -height)
    if rng.random() < 0.3:
        middle = rng.uniform(-0.5, 0.5) * half
        builder.box(middle - 0.3, -0.8, middle + 0.3, 0.1, erase=True)
    return builder.outline()


class _OutlineBuilder:
    """Canvas with a fine grid on which shapes are drawn and distances measured."""

    def __init__(self, box: tuple[float, float, float, float], density: float) -> None:
        self.left, self.top = box[0] - _MARGIN, box[1] - _MARGIN
        self.density = density
        self.size = round((box[3] - box[1] + 2 * _MARGIN) * density), round((box[2] - box[0] + 2 * _MARGIN) * density)
        self.mask = np.zeros((self.size[0] * _FINENESS, self.size[1] * _FINENESS), np.uint8)
        self.parts = np.zeros_like(self.mask)

    def _fine(self, u: float, v: float) -> tuple[int, int]:
        scale = self.density * _FINENESS
        return round((u - self.left) * scale), round((v - self.top) * scale)

    def disk(self, u: float, v: float, radius: float, part: int = 0, erase: bool = False) -> None:
        for canvas, value in ((self.mask, 0 if erase else 1), (self.parts, part)):
            cv2.circle(canvas, self._fine(u, v), round(radius * self.density * _FINENESS), (value,), -1)

    def box(self, left: float, top: float, right: float, bottom: float, part: int = 0, erase: bool = False) -> None:
        for canvas, value in ((self.mask, 0 if erase else 1), (self.parts, part)):
            cv2.rectangle(canvas, self._fine(left, top), self._fine(right, bottom), (value,), -1)

    def polygon(self, corners: list[tuple[float, float]], part: int = 0) -> None:
        points = np.array([self._fine(u, v) for u, v in corners], np.int32)
        for canvas, value in ((self.mask, 1), (self.parts, part)):
            cv2.fillPoly(canvas, [points], (value,))

    def outline(self) -> Outline:
        inside, outside = (np.asarray(cv2.distanceTransform(m, cv2.DIST_L2, 5), np.float32) for m in (self.mask, 1 - self.mask))
        fine = (outside - inside) / np.float32(self.density * _FINENESS)
        size = self.size[1], self.size[0]
        distance = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.float32)
        parts = np.asarray(cv2.resize(self.parts, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        # A sample is the middle of its cell of fine pixels.
        shift = 0.5 * (_FINENESS - 1) / _FINENESS / self.density
        return Outline(distance, parts, (self.left + shift, self.top + shift), self.density)
