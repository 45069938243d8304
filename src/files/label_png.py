"""Translation of label PNG values to classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from src.files.images import read_label_png
from src.structures import IGNORE_INDEX

UNDEFINED = 254
"""Marks pixels with an undefined value; classes are below it."""


class LabelFormat:
    """Values of a dataset's label PNGs and the class of each.

    Args:
        values: raw value -> class or ``IGNORE_INDEX``; any other value in a file is an error.
        channel: channel of color PNGs that holds the values (see :func:`read_label_png`).

    Raises:
        ValueError: if a class does not fit in a byte beside ``UNDEFINED`` and ``IGNORE_INDEX``.
    """

    def __init__(self, values: Mapping[int, int], channel: int | None = None) -> None:
        self.channel = channel
        self.values = dict(values)
        self.expected = describe_values(values)
        # One entry beyond the last value serves all larger values; a byte indexes them all.
        self._classes = np.full(max(max(values) + 2, 256), UNDEFINED, dtype=np.uint8)
        for value, target in values.items():
            if target != IGNORE_INDEX and not 0 <= target < UNDEFINED:
                raise ValueError(f"label value {value} is class {target}; expected 0..{UNDEFINED - 1} or {IGNORE_INDEX}")
            self._classes[value] = target

    def read_raw(self, path: Path) -> NDArray[np.integer[Any]]:
        """Return the (H, W) values of a file; errors as of :func:`read_label_png`."""
        return read_label_png(path, self.channel)

    def to_classes(self, raw: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Translate (H, W) values to classes 0..K-1, ``IGNORE_INDEX`` or ``UNDEFINED``."""
        if raw.dtype == np.uint8:
            # 0.1 ms at 480x853; NumPy's take needs a machine word for each index.
            return np.asarray(cv2.LUT(raw, self._classes[:256]), np.uint8)
        # Clipping maps negative values to 0, which may be a class.
        classes = self._classes.take(raw.astype(np.intp, copy=False), mode="clip")
        if raw.dtype.kind == "i":
            classes[raw < 0] = UNDEFINED
        return classes

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read the classes of a file.

        Raises:
            FileNotFoundError, ValueError: as of :func:`read_label_png`, and if the file has an undefined value.
        """
        raw = self.read_raw(path)
        classes = self.to_classes(raw)
        undefined = classes == UNDEFINED
        if undefined.any():
            wrong = raw[undefined]
            raise ValueError(
                f"{path}: label value {int(wrong[0])} ({wrong.size} such pixels out of range); expected {self.expected}"
            )
        return classes


def describe_values(values: Mapping[int, int]) -> str:
    """Format the allowed label values for messages, e.g. ``0..124, 255 (ignored: 0, 255)``."""
    ordered = sorted(values)
    starts = [v for v in ordered if v - 1 not in values]
    ends = [v for v in ordered if v + 1 not in values]
    ranges = ", ".join(f"{a}" if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True))
    ignored = ", ".join(str(v) for v in ordered if values[v] == IGNORE_INDEX)
    return f"{ranges} (ignored: {ignored or 'none'})"
