"""Frame sources: the common protocol, image files and clips of datasets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from src.data.clips import ClipDataset
from src.files.images.readers import natural_key, read_rgb
from src.files.suffixes import IMAGE_SUFFIXES, is_hidden, left_out_line
from src.inference.step_result import LabelStream

log = logging.getLogger(__name__)


class Frame(NamedTuple):
    """One frame of a source.

    Attributes:
        image: (3, H, W) uint8 RGB, upright.
        name: name of the frame within its source; its label map has the same name.
        time: seconds since the first frame; strictly increasing.
        duration: seconds until the next frame; nominal where the source has no better value.
        stored: time in the source's file, seconds, which sound follows; ``None`` if it has none.
        part: number of the part of the source without an interruption; masks are not carried into another part.
    """

    image: Tensor
    name: str
    time: Fraction
    duration: Fraction
    stored: Fraction | None = None
    part: int = 0


@dataclass(frozen=True)
class SourceInfo:
    """Properties that a source declares before it is read.

    Attributes:
        name: name of the source in messages.
        fps: frames per second, the average where the rate varies.
        time_base: seconds; every frame's time is a multiple of it.
        seconds: declared duration, ``None`` if the header has none. For display only, because headers can be wrong.
        pixel_aspect: width of a pixel divided by its height.
        sound: video file whose audio belongs to the frames; ``None`` for a source without audio.
        is_picture: whether the source is a single image and no video.
    """

    name: str
    fps: Fraction
    time_base: Fraction
    seconds: float | None = None
    pixel_aspect: Fraction = Fraction(1)
    sound: Path | None = None
    is_picture: bool = False


@runtime_checkable
class FrameSource(Protocol):
    """Frames in time order, one at a time; iterating again starts from the first frame.

    Frames that cannot be decoded are skipped and leave a gap in time.

    Attributes:
        info: declared properties.
        decode_errors: one sentence for each error, complete after the iteration; empty for an intact source.
    """

    info: SourceInfo
    decode_errors: list[str]

    def __iter__(self) -> Generator[Frame, None, None]:
        """Yield the frames that can be decoded; closing the generator closes the source."""

    def stored_frames(self) -> int | None:
        """Return the number of frames in the source, whether or not they can be decoded, ``None`` where it is unknown."""


def first_image(source: FrameSource) -> Tensor | None:
    """Open a source, return its first frame, (3, H, W) uint8 RGB, or ``None`` if it has none, and close it."""
    with closing(iter(source)) as frames:
        first = next(frames, None)
    return None if first is None else first.image


def expect_frames(stream: LabelStream, source: FrameSource, max_frames: int | None) -> None:
    """Pass the number of frames to come to a stream."""
    stored = source.stored_frames()
    stream.expect(stored if stored is None or max_frames is None else min(stored, max_frames))


def first_frames(source: Generator[Frame, None, None], count: int | None, seconds: float | None = None) -> Iterator[Frame]:
    """Yield the first frames of an iteration, ``None`` for all, those before a time in seconds, and close it."""
    # Closed here and not by the garbage collector, which may run in any thread.
    with closing(source) as frames:
        yield from takewhile(lambda frame: seconds is None or frame.time < seconds, islice(frames, count))


def frame_rate(fps: Fraction | float) -> Fraction:
    """Return frames per second as a ratio of at most 1001 in its denominator; out of 0.001..1000 is a ``ValueError``."""
    rate = Fraction(fps).limit_denominator(1001) if 0 < fps <= 1000 else Fraction()
    if not rate:
        raise ValueError(f"fps is {fps}; expected 0.001..1000")
    return rate


class ImageFrames:
    """Image files, or a clip of a dataset, as a video of constant frame rate.

    Args:
        name: name of the source in messages.
        names: distinct names of the frames, in time order; at least one.
        fps: frames per second.
        read: function that returns a frame by its number.
    """

    def __init__(self, name: str, names: Sequence[str], fps: Fraction | float, read: Callable[[int], Tensor]) -> None:
        if not names:
            raise ValueError(f"{name} has no frame; expected at least one")
        if len(set(names)) < len(names):
            repeated = next(n for i, n in enumerate(names) if n in names[:i])
            raise ValueError(f"{name}: two files are named {repeated!r}; expected one file per frame")
        self._names = tuple(names)
        self._read = read
        rate = frame_rate(fps)
        self.info = SourceInfo(name, rate, 1 / rate, float(len(names) / rate))
        self.decode_errors: list[str] = []

    def __iter__(self) -> Generator[Frame, None, None]:
        """Yield the frames; a file that cannot be read is a decode error and leaves a gap."""
        self.decode_errors.clear()
        tick, start = self.info.time_base, None
        for number, name in enumerate(self._names):
            try:
                image = self._read(number)
            except (OSError, ValueError) as error:
                self.decode_errors.append(str(error))
                continue
            start = number if start is None else start
            yield Frame(image, name, (number - start) * tick, tick)

    def stored_frames(self) -> int:
        """Return the number of files."""
        return len(self._names)

    @classmethod
    def of_files(cls, path: Path, fps: Fraction | float) -> ImageFrames:
        """Create a source of an image, of a folder's images, or of those in its subfolder ``origin`` (VSPW).

        Files are sorted by name, with numbers in numeric order. What is left out of a folder is one line in the log.
        """
        files = _images(path) or _images(path / "origin")
        if not files:
            raise ValueError(f"{path} contains no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
        # Tables and annotations are UTF-8; a name on disk may have other bytes.
        names = [file.stem.encode("utf-8", "backslashreplace").decode("utf-8") for file in files]
        source = cls(str(path), names, fps, lambda number: read_rgb(files[number]))
        source.info = replace(source.info, is_picture=not path.is_dir())
        return source

    @classmethod
    def of_clip(cls, dataset: ClipDataset, name: str) -> ImageFrames:
        """Create a source of a dataset's clip, by its name or number.

        Frames are named by their files, or numbered if two files share a name.
        """
        clip = clip_number(dataset, name)
        stems = [path.stem for path in dataset.clips[clip].images]
        names = stems if len(set(stems)) == len(stems) else [f"{frame:06d}" for frame in range(len(stems))]
        return cls(f"clip {dataset.clips[clip].name}", names, dataset.fps, lambda frame: dataset.read_image(clip, frame))


def clip_number(dataset: ClipDataset, name: str) -> int:
    """Return the number of a dataset's clip by its name, or by its number as text.

    Raises:
        ValueError: if there is no such clip.
    """
    clips = [clip.name for clip in dataset.clips]
    if name in clips:
        return clips.index(name)
    if name.isdecimal() and int(name) < len(clips):
        return int(name)
    shown = ", ".join(clips[:5]) + (", ..." if len(clips) > 5 else "")
    raise ValueError(f"no clip {name!r}; expected one of the {len(clips)} names {shown}, or a number 0..{len(clips) - 1}")


def is_image(path: Path) -> bool:
    """Return whether a path is an existing, non-hidden file with an image suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path) and path.is_file()


def _images(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if is_image(path) else []
    visible = sorted((file for file in path.iterdir() if not is_hidden(file)), key=natural_key)
    found = [file for file in visible if is_image(file)]
    if found and len(found) < len(visible):
        log.warning("%s", left_out_line(path, [file for file in visible if file not in set(found)]))
    return found
