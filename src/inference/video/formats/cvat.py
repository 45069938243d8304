"""Annotations of CVAT: "CVAT for images 1.1", one mask per class and frame."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from src.inference.video.formats.exported import ExportedFrame, class_masks
from src.visualization.palette import Palette

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class CvatXml:
    """Writer of an annotation file that CVAT loads into tasks of images and of videos.

    Characters of names that XML cannot hold are replaced by U+FFFD.
    """

    def __init__(self, path: Path, classes: Sequence[str], palette: Palette) -> None:
        self._classes = tuple(_NO_XML.sub("\ufffd", name) for name in classes)
        labels = "".join(
            f"<label><name>{escape(name)}</name><color>#{red:02x}{green:02x}{blue:02x}</color><type>mask</type><attributes/></label>\n"
            for name, (red, green, blue) in zip(self._classes, palette, strict=True)
        )
        self._file = path.open("w", encoding="utf-8")
        self._file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta><task><mode>annotation</mode><labels>\n{labels}</labels></task></meta>\n"
        )

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame."""
        height, width = frame.labels.shape
        name = quoteattr(_NO_XML.sub("\ufffd", frame.file_name))
        self._file.write(f'<image id="{frame.number}" name={name} width="{width}" height="{height}">\n')
        for label, mask, _, (left, top, columns, rows) in class_masks(frame.labels, len(self._classes)):
            runs = ", ".join(map(str, _run_lengths(mask[top : top + rows, left : left + columns])))
            self._file.write(
                f'<mask label={quoteattr(self._classes[label])} source="auto" occluded="0" rle="{runs}" '
                f'left="{left}" top="{top}" width="{columns}" height="{rows}" z_order="0"></mask>\n'
            )
        self._file.write("</image>\n")

    def close(self) -> None:
        """Complete the file."""
        with self._file:
            self._file.write("</annotations>\n")

    def abandon(self) -> None:
        """Close the file."""
        self._file.close()


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Return the lengths of runs in row order, outside and inside in turn; the first is of pixels outside and may be 0."""
    pixels = mask.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths: list[int] = np.diff(changes, prepend=0, append=pixels.size).tolist()
    return [0, *lengths] if pixels[0] else lengths
