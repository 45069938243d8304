"""Label maps as pictures: PNGs with a palette and a lossless video."""

import itertools
import logging
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from src.files.video.label_video import LabelVideoWriter
from src.inference.video.formats.exported import ExportedFrame
from src.inference.video.sources import SourceInfo
from src.structures import Size
from src.visualization.palette import VOID_COLOR, Palette

log = logging.getLogger(__name__)

MAX_PALETTE = 256
"""Colors of a PNG with a palette."""


class PalettePngs:
    """Writer of one PNG per frame whose pixels are class indices and whose palette has the colors of the classes."""

    def __init__(self, folder: Path, palette: Palette) -> None:
        colors = [*palette, *[VOID_COLOR] * (MAX_PALETTE - len(palette))]
        self._folder, self._colors = folder, list(itertools.chain.from_iterable(colors))

    def write(self, frame: ExportedFrame) -> None:
        """Write the file of a frame."""
        image = Image.fromarray(frame.labels.astype(np.uint8))
        image.putpalette(self._colors)
        image.save(self._folder / frame.file_name, compress_level=1)

    def close(self) -> None:
        """Leave the files, which are complete."""

    def abandon(self) -> None:
        """Leave the files."""


class LabelVideo:
    """Writer of all label maps as one video; frames of another size than the first are resized to it."""

    def __init__(self, path: Path, info: SourceInfo, num_classes: int) -> None:
        self._info = info
        self._size: Size | None = None
        self._writer = LabelVideoWriter(path, info.fps, num_classes, info.pixel_aspect)

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame."""
        labels, size = frame.labels, (frame.labels.shape[0], frame.labels.shape[1])
        self._size = self._size or size
        if size != self._size:
            log.warning(
                "%s: label map %d is %dx%d (HxW), resized in a label video of %dx%d",
                self._info.name,
                frame.number,
                *size,
                *self._size,
            )
            labels = cv2.resize(labels.astype(np.uint16), self._size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        self._writer.write(labels, frame.time, frame.duration)

    def close(self) -> None:
        """Complete the file."""
        self._writer.close()

    def abandon(self) -> None:
        """Delete an incomplete file."""
        self._writer.abandon()
