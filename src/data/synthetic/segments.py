"""Connected segments of a label map."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Segments:
    """Partition of an image into N connected segments of one class each.

    Attributes:
        index: (H, W) int32, number of the segment of every pixel, 0..N-1.
        classes: (N,) int64.
        boxes: (N, 4) int32, left, top, width, height in pixels, before small segments were merged into it.
        areas: (N,) int32, pixels, before merging.
        extents: (N, 4) int32, as ``boxes``, after merging.
    """

    index: Ints
    classes: NDArray[np.int64]
    boxes: Ints
    areas: Ints
    extents: Ints

    def __len__(self) -> int:
        return len(self.classes)


def split_segments(label: NDArray[np.int64], min_area: int, max_segments: int) -> Segments:
    """Split a label map (H, W) of values >= 0 into connected segments; void counts as a class.

    Segments of fewer than ``min_area`` pixels, and all but the ``max_segments`` largest, are merged into a neighbor.
    """
    values = label if label.max(initial=0) < 256 else np.unique(label, return_inverse=True)[1].reshape(label.shape)
    values = np.ascontiguousarray(values, dtype=np.int32)
    index = np.zeros(label.shape, np.int32)
    boxes: list[Ints] = []
    count = 0
    # OpenCV compares bytes faster.
    searched = values.astype(np.uint8) if values.max(initial=0) < 256 else values
    for value in np.flatnonzero(np.bincount(values.ravel())):
        mask = cv2.inRange(searched, int(value), int(value))
        # Most classes fill a small part of the image; searching only there halves the time.
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
    """Merge every dropped segment into a kept neighbor and renumber the kept ones without gaps.

    Returns:
        Index (H, W) and the boxes of the kept segments with those merged into them (N, 4).
    """
    height, width = index.shape
    parent = np.arange(len(stats), dtype=np.int32)
    dropped = np.flatnonzero(~keep)
    if len(dropped):
        x, y, w, h = (stats[dropped, i] for i in range(4))
        largest = np.int32(np.argmax(stats[:, cv2.CC_STAT_AREA]))
        # Candidates left of, above, right of and below the box, kept segments preferred.
        candidates = ((x - 1, y + h // 2), (x + w // 2, y - 1), (x + w, y + h // 2), (x + w // 2, y + h))
        target = np.full(len(dropped), -1, np.int32)
        for near_x, near_y in candidates:
            inside = (near_x >= 0) & (near_y >= 0) & (near_x < width) & (near_y < height)
            found = np.where(inside, index[near_y.clip(0, height - 1), near_x.clip(0, width - 1)], -1)
            better = (found >= 0) & keep[found] & ((target < 0) | ~keep[target])
            target = np.where(better | ((target < 0) & (found >= 0)), found, target)
        parent[dropped] = np.where((target >= 0) & keep[target], target, largest)
    top_left, bottom_right = stats[:, :2].copy(), stats[:, :2] + stats[:, 2:4]
    np.minimum.at(top_left, parent, stats[:, :2])
    np.maximum.at(bottom_right, parent, stats[:, :2] + stats[:, 2:4])
    numbers = np.full(len(stats), -1, np.int32)
    numbers[keep] = np.arange(int(keep.sum()), dtype=np.int32)
    return np.take(numbers[parent], index), np.concatenate((top_left, bottom_right - top_left), axis=1)[keep]
