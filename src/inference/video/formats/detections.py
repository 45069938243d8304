"""Regions of label maps as detections of the package ``supervision``: boxes, masks and classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from src.inference.video.formats.exported import ExportedFrame, class_masks

if TYPE_CHECKING:
    from supervision import Detections as Detections


def detections(labels: NDArray[Any], classes: Sequence[str], masks: bool = True) -> Detections:
    """Return the regions of a label map, each of one class and connected by the sides of its pixels.

    Args:
        labels: (H, W) uint8 or int32, 0..K-1; other values have no region.
        classes: K names.
        masks: whether to return the masks, (N, H, W) bool, which take N times the memory of the label map.

    Returns:
        N detections in class order: ``xyxy`` in pixels, the lower right corner outside of the region; ``class_id``;
        ``data["class_name"]`` and ``data["pixels"]``, the number of pixels. There is no confidence.

    Raises:
        ModuleNotFoundError: if supervision is not installed.
    """
    import supervision

    boxes, found, pixels, shapes = list[Any](), list[int](), list[int](), list[NDArray[np.bool_]]()
    for label, mask, _, _ in class_masks(labels, len(classes)):
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
        boxes.extend((x, y, x + width, y + height) for x, y, width, height in stats[1:, : cv2.CC_STAT_AREA].tolist())
        pixels.extend(stats[1:, cv2.CC_STAT_AREA].tolist())
        found.extend([label] * (count - 1))
        if masks:
            shapes.extend(numbers == number for number in range(1, count))
    return supervision.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        mask=np.array(shapes, bool).reshape(-1, *labels.shape) if masks else None,
        class_id=np.array(found, int),
        data={"class_name": np.array([classes[label] for label in found], dtype=str), "pixels": np.array(pixels, int)},
    )


class DetectionsCsv:
    """Writer of the table of supervision's ``CSVSink``: one line per region and frame, without masks."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        import supervision

        self._classes = tuple(classes)
        self._sink = supervision.CSVSink(str(path))
        self._sink.open()

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame."""
        found = detections(frame.labels, self._classes, masks=False)
        self._sink.append(found, {"frame": frame.number, "name": frame.name, "seconds": f"{float(frame.time):.6f}"})

    def close(self) -> None:
        """Complete the file."""
        self._sink.close()

    def abandon(self) -> None:
        """Close the file."""
        self._sink.close()
