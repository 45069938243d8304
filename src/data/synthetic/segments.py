"""The connected pieces of a label map."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Segments:
    """A partition of the image into connected pieces of one class, N in all.

    Attributes:
        index: (H, W) int32, number of the segment of every pixel, 0..N-1.
        classes: (N,) int64.
        boxes: (N, 4) int32, left, top, width, height in pixels; of the piece itself, without small ones merged into it.
        areas: (N,) int32, pixels, likewise.
        extents: (N, 4) int32, as ``boxes``, with the small pieces that were merged into it.
    """

    index: Ints
    classes: NDArray[np.int64]
    boxes: Ints
    areas: Ints
    extents: Ints

    def __len__(self) -> int:
        return len(self.classes)


def split_segments(label: NDArray[np.int64], min_area: int, max_segments: int) -> Segments:
    """Cut a label map into its connected pieces; void is a class like the others here.

    Args:
        label: (H, W), values >= 0.
        min_area: pieces of fewer pixels join a neighbour.
        max_segments: at most so many pieces are kept, the largest.
    """
    values = (
        label.astype(np.int32) if label.max(initial=0) < 256 else np.unique(label, return_inverse=True)[1].reshape(label.shape)
    )
    values = np.ascontiguousarray(values, dtype=np.int32)
    index = np.zeros(label.shape, np.int32)
    boxes: list[Ints] = []
    count = 0
    narrow = values.astype(np.uint8) if values.max(initial=0) < 256 else None
    for value in np.flatnonzero(np.bincount(values.ravel())):
        mask = cv2.inRange(values if narrow is None else narrow, int(value), int(value))
        # Most classes fill a small part of the image: searching only there halves the time.
        left, top, width, height = cv2.boundingRect(mask)
        part = np.s_[top : top + height, left : left + width]
        pieces, numbers, stats, _ = cv2.connectedComponentsWithStats(mask[part], connectivity=8, ltype=cv2.CV_32S)
        np.copyto(index[part], numbers + np.int32(count - 1), where=mask[part] > 0)
        boxes.append(np.asarray(stats[1:] + np.array([left, top, 0, 0, 0]), np.int32))
        count += pieces - 1
    table: Ints = np.concatenate(boxes)
    keep = table[:, cv2.CC_STAT_AREA] >= min(min_area, int(table[:, cv2.CC_STAT_AREA].max()))
    if keep.sum() > max_segments:
        keep &= table[:, cv2.CC_STAT_AREA] >= np.sort(table[:, cv2.CC_STAT_AREA])[-max_segments]
    index, extents = _merge(index, table, keep)
    kept = table[keep]
    classes = np.empty(len(kept), np.int64)
    for i, (x, y, width, _, _) in enumerate(kept):
        classes[i] = label[y, x + int(np.argmax(index[y, x : x + width] == i))]
    return Segments(index, classes, kept[:, :4], kept[:, 4], extents)


def _merge(index: Ints, stats: Ints, keep: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Give every dropped piece the number of a kept neighbour and renumber the kept ones without gaps.

    Returns:
        index (H, W) and the boxes of the kept pieces including what was merged into them (N, 4).
    """
    height, width = index.shape
    parent = np.arange(len(stats), dtype=np.int32)
    dropped = np.flatnonzero(~keep)
    if len(dropped):
        x, y, w, h = (stats[dropped, i] for i in range(4))
        largest = np.int32(np.argmax(stats[:, cv2.CC_STAT_AREA]))
        # A neighbour left of, above, right of or below the box; the chain of dropped neighbours is followed a few steps.
        spots = ((x - 1, y + h // 2), (x + w // 2, y - 1), (x + w, y + h // 2), (x + w // 2, y + h))
        target = np.full(len(dropped), -1, np.int32)
        for spot_x, spot_y in spots:
            inside = (spot_x >= 0) & (spot_y >= 0) & (spot_x < width) & (spot_y < height)
            found = np.where(inside, index[spot_y.clip(0, height - 1), spot_x.clip(0, width - 1)], -1)
            better = (found >= 0) & keep[found] & ((target < 0) | ~keep[target])
            target = np.where(better | ((target < 0) & (found >= 0)), found, target)
        parent[dropped] = np.where((target >= 0) & keep[target], target, largest)
    near, far = stats[:, :2].copy(), stats[:, :2] + stats[:, 2:4]
    np.minimum.at(near, parent, stats[:, :2])
    np.maximum.at(far, parent, stats[:, :2] + stats[:, 2:4])
    numbers = np.full(len(stats), -1, np.int32)
    numbers[keep] = np.arange(int(keep.sum()), dtype=np.int32)
    merged: Ints = np.take(numbers[parent], index)
    return merged, np.concatenate((near, far - near), axis=1)[keep]
