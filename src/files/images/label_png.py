"""Translation of label values or colors to classes."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from src.files.images.readers import read_label_colors, read_label_png
from src.structures import IGNORE_INDEX

UNDEFINED = 254
"""Marks pixels with an undefined value; classes are below it."""


class LabelFormat:
    """Values, or colors, of a dataset's label files and the class of each.

    Args:
        values: raw value -> class or ``IGNORE_INDEX``; any other value in a file is an error. With ``colors``, a raw value is
            ``65536 r + 256 g + b``.
        channel: channel of color files that holds the values (see :func:`read_label_png`).
        colors: whether the color of a pixel gives its class.

    Attributes:
        values: as given; empty with ``colors``, whose order means nothing.

    Raises:
        ValueError: if a class does not fit in a byte beside ``UNDEFINED`` and ``IGNORE_INDEX``.
    """

    def __init__(self, values: Mapping[int, int], channel: int | None = None, colors: bool = False) -> None:
        self.channel, self.colors = channel, colors
        self.values = {} if colors else dict(values)
        self.expected = f"the colors {', '.join(map(_color_text, values))}" if colors else describe_values(values)
        for value, target in values.items():
            if target != IGNORE_INDEX and not 0 <= target < UNDEFINED:
                raise ValueError(f"{self.name(value)} is class {target}; expected 0..{UNDEFINED - 1} or {IGNORE_INDEX}")
        self._targets = dict(values)

    @cached_property
    def _classes(self) -> NDArray[np.uint8]:
        """Class of every value; made where it is used, since that of colors has 16 MB."""
        # One entry beyond the last value serves all larger values; a byte indexes them all.
        table = np.full(max(max(self._targets) + 2, 256), UNDEFINED, dtype=np.uint8)
        table[list(self._targets)] = list(self._targets.values())
        return table

    def name(self, value: int) -> str:
        """Return a raw value in words."""
        return f"color {_color_text(value)}" if self.colors else f"label value {value}"

    def read_raw(self, path: Path) -> NDArray[np.integer[Any]]:
        """Return the (H, W) values of a file; errors as of :func:`read_label_png` or :func:`read_label_colors`."""
        return read_label_colors(path) if self.colors else read_label_png(path, self.channel)

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
            wrong, counts = np.unique(raw[undefined], return_counts=True)
            others = f", {wrong.size - 1} other values" if wrong.size > 1 else ""
            most = int(counts.argmax())
            found = f"{self.name(int(wrong[most]))} ({counts[most]} such pixels out of range{others})"
            raise ValueError(f"{path}: {found}; expected {self.expected}")
        return classes


def describe_values(values: Mapping[int, int]) -> str:
    """Format the allowed label values for messages, e.g. ``0..124, 255 (ignored: 0, 255)``."""
    ordered = sorted(values)
    starts = [v for v in ordered if v - 1 not in values]
    ends = [v for v in ordered if v + 1 not in values]
    ranges = ", ".join(f"{a}" if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True))
    ignored = ", ".join(str(v) for v in ordered if values[v] == IGNORE_INDEX)
    return f"{ranges} (ignored: {ignored or 'none'})"


def _color_text(value: int) -> str:
    return f"[{value >> 16}, {value >> 8 & 255}, {value & 255}]"
