"""Frame that formats write, the protocol of a format, and what several formats compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from src.visualization.palette import Palette


@dataclass(frozen=True)
class ExportedFrame:
    """Label map of one frame.

    Attributes:
        number: 0 for the first frame of the source.
        name: name within the source.
        time: seconds since the first frame.
        duration: seconds.
        labels: (H, W) uint8 or int32, 0..K-1; 255 where a model of one class has no class.
    """

    number: int
    name: str
    time: Fraction
    duration: Fraction
    labels: NDArray[Any]

    @property
    def file_name(self) -> str:
        """Name of the frame as an image file, by which other programs match it."""
        return f"{self.name}.png"


class Export(Protocol):
    """Writer of one format, frame by frame."""

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame."""

    def close(self) -> None:
        """Complete the files."""

    def abandon(self) -> None:
        """Close the files, complete or not; does nothing after :meth:`close`."""


class ClassMask(NamedTuple):
    """Pixels of one class in a frame.

    Attributes:
        label: the class, 0..K-1.
        mask: (H, W) bool.
        area: number of pixels.
        box: x, y, width and height of the smallest box around them, pixels.
    """

    label: int
    mask: NDArray[np.bool_]
    area: int
    box: tuple[int, int, int, int]


def class_masks(labels: NDArray[Any], num_classes: int) -> list[ClassMask]:
    """Return the masks of the classes in a label map, in class order, without pixels that have no class."""
    counts = np.bincount(labels.ravel(), minlength=num_classes)[:num_classes]
    masks = []
    for label in np.flatnonzero(counts).tolist():
        mask = labels == label
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        masks.append(ClassMask(label, mask, int(counts[label]), (x, y, width, height)))
    return masks


def categories(classes: Sequence[str], palette: Palette) -> list[dict[str, Any]]:
    """Return the categories of COCO, ids from 1: class 0 is category 1."""
    return [
        {"id": label + 1, "name": name, "supercategory": "stuff", "isthing": 0, "color": list(color)}
        for label, (name, color) in enumerate(zip(classes, palette, strict=True))
    ]
