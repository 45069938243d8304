"""Exact polygons of a label map: boundaries of its regions, traced along the edges of pixels."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int32]
"""(N, 2) corners (x, y) in turn, the first not repeated.

The pixel at (row, column) is the square from (column, row) to (column + 1, row + 1).
"""

_FORWARD = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(row, column) step along the top, right, bottom and left side of a pixel, clockwise in the image."""
_OUTWARD = ((-1, 0), (0, 1), (1, 0), (0, -1))
_START = ((0, 0), (1, 0), (1, 1), (0, 1))
"""(x, y) of the corner at which each side begins, from the top left corner of the pixel."""


class Polygon(NamedTuple):
    """A region of one class whose pixels are connected by their sides.

    Attributes:
        exterior: outer ring, clockwise in the image (of positive area by the shoelace formula in (x, y)).
        holes: inner rings, counterclockwise; a hole may touch another ring at a corner.
    """

    exterior: Ring
    holes: tuple[Ring, ...]


def polygons(label_map: NDArray[Any], *, ignore: int | None = None) -> dict[int, list[Polygon]]:
    """Trace the regions of every class.

    Args:
        label_map: (H, W) integers.
        ignore: class without polygons.

    Returns:
        Polygons by class, classes in ascending order. No ring meets itself or has a corner on a straight line. The polygons cover
        each pixel of their class and no other: rasterizing them gives the label map.
    """
    pixels, corners, following = _runs(label_map, ignore)
    order, starts = _cycles(following)
    pixels, corners = pixels[order], corners[order]
    labels = label_map.reshape(-1)[pixels].tolist()
    rings: dict[int, list[tuple[int, Ring]]] = {}
    codes = (corners @ np.array((1, label_map.shape[1] + 1))).tolist()
    for start, end in pairwise(starts):
        ring = corners[start:end]
        simple = [ring] if len(set(codes[start:end])) == end - start else _simple(ring)
        rings.setdefault(labels[start], []).extend((int(pixels[start]), each) for each in simple)
    return {label: _nested(rings[label], label_map == label) for label in sorted(rings)}


def _runs(label_map: NDArray[Any], ignore: int | None) -> tuple[NDArray[Any], Ring, list[int]]:
    """Straight runs of pixel sides on boundaries: (R,) first pixels, (R, 2) first corners, and the run that follows each."""
    height, width = label_map.shape
    padded = np.pad(label_map.astype(np.int64), 1, constant_values=int(label_map.min()) - 1)

    def same(row: int, column: int) -> NDArray[np.bool_]:
        equal: NDArray[np.bool_] = padded[1 + row : 1 + row + height, 1 + column : 1 + column + width] == padded[1:-1, 1:-1]
        return equal

    kept = np.ones(label_map.shape, bool) if ignore is None else label_map != ignore
    pixels, corners, firsts, nexts = [], [], [], []
    for side, ((fy, fx), (oy, ox)) in enumerate(zip(_FORWARD, _OUTWARD, strict=True)):
        edge = kept & ~same(oy, ox)
        ahead, across = same(fy, fx), same(fy + oy, fx + ox)
        starts = _ordered(edge & ~(same(-fy, -fx) & ~same(oy - fy, ox - fx)), side)
        ends = _ordered(
            edge & ~(ahead & ~across), side
        )  # in one line, the runs of a side follow each other: the n-th end is the n-th run's
        turns_out = ahead[*ends.T]
        after = ends + turns_out[:, None] * np.array((fy + oy, fx + ox))
        firsts.append(_key(starts, side, label_map.shape))
        nexts.append(_key(after, np.where(turns_out, (side - 1) % 4, (side + 1) % 4), label_map.shape))
        pixels.append(starts @ np.array((width, 1)))
        corners.append(starts[:, ::-1] + np.array(_START[side]))
    first = np.concatenate(firsts)
    order = np.argsort(first)
    following = order[np.searchsorted(first, np.concatenate(nexts), sorter=order)]
    return np.concatenate(pixels), np.concatenate(corners).astype(np.int32), following.tolist()


def _ordered(marked: NDArray[np.bool_], side: int) -> NDArray[np.int64]:
    """(N, 2) rows and columns of marked pixels: by row for horizontal sides, by column for vertical ones."""
    return np.argwhere(marked) if side % 2 == 0 else np.argwhere(marked.T)[:, ::-1]


def _key(places: NDArray[np.int64], side: int | NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    return (side * shape[0] + places[:, 0]) * shape[1] + places[:, 1]


def _cycles(following: list[int]) -> tuple[NDArray[np.intp], list[int]]:
    """Return the runs ring by ring, and the (rings + 1) places where the rings start and the last one ends."""
    seen = bytearray(len(following))
    order, starts = list[int](), [0]
    for first, is_seen in enumerate(seen):
        run = first
        while not seen[run]:
            seen[run] = 1
            order.append(run)
            run = following[run]
        if not is_seen:
            starts.append(len(order))
    return np.array(order, np.intp), starts


def _simple(ring: Ring) -> list[Ring]:
    """Cut a ring where it meets itself: at corners between two diagonal pixels of one region."""
    rings, path, places = list[Ring](), list[tuple[int, int]](), dict[tuple[int, int], int]()
    for x, y in chain(ring.tolist(), ring[:1].tolist()):
        if (x, y) in places:
            loop = path[places[x, y] :]
            rings.append(np.array(loop, np.int32))
            del path[places[x, y] :]
            for corner in loop:
                del places[corner]
        places[x, y] = len(path)
        path.append((x, y))
    return rings


def _nested(rings: list[tuple[int, Ring]], mask: NDArray[np.bool_]) -> list[Polygon]:
    """Join exteriors and holes of the regions of one class; each ring comes with a pixel of its region."""
    ends = np.cumsum([len(ring) for _, ring in rings])
    x, y = np.concatenate([ring for _, ring in rings]).astype(np.int64).T
    following = np.arange(1, len(x) + 1)
    following[ends - 1] = np.concatenate(([0], ends[:-1]))
    is_hole = (np.add.reduceat(x * y[following] - y * x[following], np.concatenate(([0], ends[:-1]))) < 0).tolist()
    exteriors = [one for one, hole in zip(rings, is_hole, strict=True) if not hole]
    if len(exteriors) == len(rings):
        return [Polygon(ring, ()) for _, ring in exteriors]
    regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1].reshape(-1)
    holes: dict[int, list[Ring]] = {}
    for (pixel, ring), hole in zip(rings, is_hole, strict=True):
        if hole:
            holes.setdefault(int(regions[pixel]), []).append(ring)
    return [Polygon(ring, tuple(holes.get(int(regions[pixel]), ()))) for pixel, ring in exteriors]
