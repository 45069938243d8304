"""Proposed ``classes.yaml`` of a dataset that has none, by the values or colors of its masks."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.files.images.opened_image import UnsuitableFileError
from src.files.images.readers import read_label_colors, read_label_png
from src.files.suffixes import LABEL_SUFFIXES, is_hidden
from src.structures import IGNORE_INDEX

_SHOWN = 6
"""Classes in an error of one line."""


@dataclass
class MaskValues:
    """Values found in masks.

    Attributes:
        colored: whether the values are colors, ``65536 r + 256 g + b``.
        masks: number of masks read.
        pixels, frames: value -> its pixels, and the masks in which it occurs.
    """

    colored: bool
    masks: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    frames: Counter[int] = field(default_factory=Counter)

    @property
    def classes(self) -> list[int]:
        """Values that are proposed as classes: all but 255, unless it marks the object beside background 0."""
        values = sorted(self.pixels)
        whole = self.colored or values in ([0, IGNORE_INDEX], [IGNORE_INDEX])
        return values if whole else [value for value in values if value != IGNORE_INDEX]


def find_values(root: Path, limit: int | None = None) -> MaskValues | None:
    """Read the masks of a dataset in the layout of :mod:`src.data.datasets.folder`, at most ``limit``, spread over all.

    Returns:
        Their values; ``None`` without masks, or with more values than a dataset can have classes.

    Raises:
        ValueError: if a mask cannot be read; the message names it.
    """
    paths = list(_mask_files(root / "masks"))
    paths = paths[:: max(-(-len(paths) // limit), 1)] if limit else paths
    if not paths:
        return None
    read, colored = _reader(paths[0])
    found = MaskValues(colored)
    for path in paths:
        values, counts = np.unique(read(path), return_counts=True)
        found.masks += 1
        found.pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        found.frames.update(values.tolist())
        if len(found.pixels) >= IGNORE_INDEX:
            return None
    return found


def proposed_yaml(found: MaskValues) -> str:
    """Return the text of a ``classes.yaml`` that the masks fit, with counts in comments."""
    total, ignored = found.pixels.total(), [] if IGNORE_INDEX in found.classes else [IGNORE_INDEX]
    lines = [
        f"# Proposed from the values of {found.masks} masks: name the classes; their names determine the colors of pictures.",
        "fps: 25 # frames per second of the videos",
    ]
    lines += ["mask_colors: true"] if found.colored else [f"ignore: {ignored}"]
    lines.append("classes:")
    for number, value in enumerate(found.classes):
        counts = f"{100 * found.pixels[value] / total:.2f} % of the pixels, in {found.frames[value]} masks"
        lines.append(f"  - {_entry(found, number)} # {counts}")
    return "\n".join(lines) + "\n"


def proposed_line(root: Path) -> str:
    """Return the proposal in one line, from at most 50 masks; an example where no mask can be read."""
    try:
        found = find_values(root, 50)
    except (OSError, ValueError):
        found = None
    if found is None:
        return "classes: [road, car]"
    entries = [_entry(found, number) for number in range(len(found.classes))]
    more = ", ..." if len(entries) > _SHOWN else ""
    return f"{'mask_colors: true, ' if found.colored else ''}classes: [{', '.join(entries[:_SHOWN])}{more}]"


def _entry(found: MaskValues, number: int) -> str:
    value = found.classes[number]
    if found.colored:
        return f"{{name: class_{number}, color: {[value >> 16, value >> 8 & 255, value & 255]}}}"
    return f"{{name: class_{value}, value: {value}}}"


def _reader(path: Path) -> tuple[Callable[[Path], NDArray[np.integer[Any]]], bool]:
    """Return the reader of masks like this one, and whether it reads colors."""
    try:
        read_label_png(path)
    except UnsuitableFileError:
        return read_label_colors, True
    return read_label_png, False


def _mask_files(folder: Path) -> Iterator[Path]:
    for video in sorted(folder.iterdir()) if folder.is_dir() else ():
        for path in sorted(video.iterdir()) if video.is_dir() and not is_hidden(video) else ():
            if path.suffix.lower() in LABEL_SUFFIXES and not is_hidden(path):
                yield path
