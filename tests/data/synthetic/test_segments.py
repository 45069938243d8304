"""Laws of segments: a full partition into connected segments, small ones merged."""

import numpy as np

from src.data.synthetic.segments import split_segments


def test_connected_segments_of_one_class_are_separate() -> None:
    """Each connected segment has its own number, class, box and area."""
    label = np.zeros((40, 60), np.int64)
    label[5:15, 5:20] = 3
    label[25:35, 30:50] = 3
    label[0:10, 40:60] = 255
    segments = split_segments(label, min_area=10, max_segments=64)
    assert sorted(segments.classes.tolist()) == [0, 3, 3, 255]
    for i, kind in enumerate(segments.classes):
        mask = segments.index == i
        assert (label[mask] == kind).all() and mask.sum() == segments.areas[i]
        x, y, width, height = segments.boxes[i]
        rows, columns = np.nonzero(mask)
        assert (x, y, width, height) == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_small_segments_are_merged_into_a_neighbor() -> None:
    """Small segments belong to the segment around them, and extents cover them."""
    label = np.zeros((40, 60), np.int64)
    label[:, 30:] = 1
    label[10:12, 10:12] = 2
    label[20:22, 45:47] = 2
    segments = split_segments(label, min_area=10, max_segments=64)
    assert sorted(segments.classes.tolist()) == [0, 1]
    assert segments.index[11, 11] == segments.index[0, 0] and segments.index[21, 46] == segments.index[0, 59]
    assert segments.extents[:, 2:].max() <= 60


def test_any_label_is_partitioned() -> None:
    """Noise labels, values above 255 and a low limit give a full partition with consecutive numbers."""
    rng = np.random.default_rng(0)
    for values, limit in ((3, 64), (1000, 5)):
        label = rng.integers(0, values, (37, 53))
        segments = split_segments(label, min_area=8, max_segments=limit)
        assert set(np.unique(segments.index).tolist()) == set(range(len(segments)))
        for i in range(len(segments)):
            x, y, width, height = segments.extents[i]
            rows, columns = np.nonzero(segments.index == i)
            assert x <= columns.min() and columns.max() < x + width and y <= rows.min() and rows.max() < y + height
