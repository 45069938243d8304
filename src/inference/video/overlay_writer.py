"""Writers of the overlay: a video, or the picture of a single image."""

from fractions import Fraction
from pathlib import Path
from typing import Protocol

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from src.files.results.owned_file import FILE_MARK
from src.inference.video.sources import SourceInfo
from src.inference.video.writer import VideoWriter

_JPEG_QUALITY = 95


class OverlayWriter(Protocol):
    """Writer of an overlay's frames, see :class:`~src.inference.video.writer.VideoWriter`."""

    def write(self, frame: Tensor, time: Fraction | None, duration: Fraction | None, stored: Fraction | None) -> None:
        """Append one frame, (3, H, W) uint8 RGB."""

    def close(self) -> None:
        """Complete the file."""

    def abandon(self) -> None:
        """Delete an incomplete file."""


class PictureWriter:
    """Writer of the overlay of a single image, in the format of the suffix, with the mark of this project.

    Args:
        path: PNG or JPEG file; an existing file is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, frame: Tensor, time: Fraction | None, duration: Fraction | None, stored: Fraction | None) -> None:
        """Write the picture, (3, H, W) uint8 RGB."""
        image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
        if self.path.suffix.lower() == ".png":
            info = PngInfo()
            info.add_text("comment", FILE_MARK)
            image.save(self.path, pnginfo=info)
        else:
            image.save(self.path, quality=_JPEG_QUALITY, comment=FILE_MARK)

    def close(self) -> None:
        """Leave the file, which is complete."""

    def abandon(self) -> None:
        """Leave the file, which is complete or was never begun."""


def overlay_writer(path: Path, info: SourceInfo, quality: int, sound: bool, in_place: bool) -> OverlayWriter:
    """Create the writer of the overlay of a source: a picture for an image, else a video."""
    if info.is_picture:
        return PictureWriter(path)
    track = info.sound if sound else None
    return VideoWriter(path, info.fps, quality, info.time_base, info.pixel_aspect, track, FILE_MARK, in_place)
