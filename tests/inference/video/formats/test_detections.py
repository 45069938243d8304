"""Laws of detections: their masks rebuild the label map, and supervision itself agrees on boxes."""

import numpy as np
import pytest

from src.inference.video.formats.detections import detections

CLASSES = ("sky", "road", "car")
LABELS = np.array([[0, 0, 1, 1, 2], [0, 2, 1, 1, 2], [2, 0, 255, 1, 1]], np.uint8)

supervision = pytest.importorskip("supervision")


def test_masks_rebuild_the_label_map() -> None:
    found = detections(LABELS, CLASSES)
    rebuilt = np.full(LABELS.shape, 255)
    for mask, label in zip(found.mask, found.class_id, strict=True):
        assert (rebuilt[mask] == 255).all()
        rebuilt[mask] = label
    np.testing.assert_array_equal(rebuilt, LABELS)
    assert found.data["class_name"].tolist() == ["sky", "sky", "road", "car", "car", "car"]
    assert found.data["pixels"].tolist() == found.area.tolist()


def test_boxes_hold_their_masks() -> None:
    found = detections(LABELS, CLASSES)
    inclusive = supervision.mask_to_xyxy(found.mask)
    np.testing.assert_array_equal(found.xyxy, inclusive + np.array((0, 0, 1, 1)))


def test_detections_can_be_filtered_and_tracked_without_masks() -> None:
    found = detections(LABELS, CLASSES, masks=False)
    assert found.mask is None and len(found[found.class_id == 2]) == 3


def test_an_empty_map_has_no_detection() -> None:
    assert len(detections(np.full((3, 4), 255, np.uint8), ("crack",))) == 0
