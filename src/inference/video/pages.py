"""Animated images (GIF, WebP, PNG, AVIF) and TIFFs of several pages as videos."""

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

from src.files.images.readers import count_pages, read_pages
from src.inference.video.sources import Frame, FrameSource, ImageFrames, SourceInfo, frame_rate, is_image

_TICK = Fraction(1, 1000)


def image_source(path: Path, fps: Fraction | float) -> FrameSource:
    """Create a source of an image, of a folder's images, or of an animated image or the pages of a file.

    Raises:
        ValueError: if the file cannot be decoded, or the folder contains no image.
    """
    count = count_pages(path) if is_image(path) else 1
    return PagedFrames(path, count, fps) if count > 1 else ImageFrames.of_files(path, fps)


class PagedFrames:
    """:class:`FrameSource` of the frames of one image file, with their own durations where it has them.

    Args:
        path: image file.
        count: number of its frames or pages.
        fps: frames per second where the file has no durations.
    """

    def __init__(self, path: Path, count: int, fps: Fraction | float) -> None:
        self._path, self._count = path, count
        _, duration = next(read_pages(path))
        self._default = duration or 1 / frame_rate(fps)
        self.info = SourceInfo(str(path), 1 / self._default, _TICK)
        self.decode_errors: list[str] = []

    def __iter__(self) -> Generator[Frame, None, None]:
        """Yield the frames up to the first damaged one, which is a decode error."""
        self.decode_errors.clear()
        time, number = Fraction(0), 0
        try:
            for number, (image, found) in enumerate(read_pages(self._path)):
                # Times are multiples of the tick.
                duration = max(1, round((found or self._default) / _TICK)) * _TICK
                yield Frame(image, f"{number:06d}", time, duration)
                time += duration
        except ValueError as error:
            self.decode_errors.append(f"{error}; frames before {number + 1} of {self._count} are read")

    def stored_frames(self) -> int:
        """Return the number of frames or pages."""
        return self._count
