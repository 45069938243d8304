"""COCO annotations of label maps: semantic ("stuff") with run-length masks, and panoptic with PNGs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.inference.video.formats.exported import ExportedFrame, categories, class_masks
from src.inference.video.formats.json_stream import JsonStream
from src.visualization.palette import Palette

_INFO = {"description": "predicted label maps; category id = class index + 1"}


class CocoSemantic:
    """Writer of COCO stuff annotations: one run-length mask per class and frame.

    Masks of a frame do not overlap and cover every pixel that has a class.
    """

    def __init__(self, path: Path, classes: Sequence[str], palette: Palette) -> None:
        from pycocotools import mask

        self._mask, self._num_classes = mask, len(classes)
        self._file = _coco_file(path, classes, palette)
        self._written = 0

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame."""
        self._file.add("images", _image(frame))
        for label, mask, area, box in class_masks(frame.labels, self._num_classes):
            encoded = self._mask.encode(np.asfortranarray(mask, np.uint8))
            self._written += 1
            annotation = {
                "id": self._written,
                "image_id": frame.number,
                "category_id": label + 1,
                "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
                "area": area,
                "bbox": list(box),
                "iscrowd": 0,
            }
            self._file.add("annotations", annotation)

    def close(self) -> None:
        """Complete the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file."""
        self._file.abandon()


class CocoPanoptic:
    """Writer of COCO panoptic annotations: all pixels of a class in a frame are one segment of that class.

    The id of a segment is R + 256 G + 65536 B in the PNG, and equals that of its category; 0 is a pixel without a class.
    """

    def __init__(self, path: Path, folder: Path, classes: Sequence[str], palette: Palette) -> None:
        self._folder, self._num_classes = folder, len(classes)
        self._file = _coco_file(path, classes, palette)

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame."""
        ids = np.where(frame.labels < self._num_classes, frame.labels.astype(np.int32) + 1, 0)
        pixels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(self._folder / frame.file_name, compress_level=1)
        segments = [
            {"id": label + 1, "category_id": label + 1, "area": area, "bbox": list(box), "iscrowd": 0}
            for label, _, area, box in class_masks(frame.labels, self._num_classes)
        ]
        self._file.add("images", _image(frame))
        annotation = {"image_id": frame.number, "file_name": frame.file_name, "segments_info": segments}
        self._file.add("annotations", annotation)

    def close(self) -> None:
        """Complete the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file."""
        self._file.abandon()


def _coco_file(path: Path, classes: Sequence[str], palette: Palette) -> JsonStream:
    head = {"info": _INFO, "licenses": [], "categories": categories(classes, palette)}
    return JsonStream(path, head, ("annotations", "images"))


def _image(frame: ExportedFrame) -> dict[str, Any]:
    height, width = frame.labels.shape
    return {
        "id": frame.number,
        "file_name": frame.file_name,
        "width": width,
        "height": height,
        "seconds": round(float(frame.time), 6),
    }
