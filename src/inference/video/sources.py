"""Where frames come from: what a source of frames is, and the sources that are not video files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import torch
from torch import Tensor

from src.data.clips import ClipDataset
from src.files.images import natural_key, read_rgb

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_CAMERA_FPS = 30
_CAMERA_TIME_BASE = Fraction(1, 90_000)


class Frame(NamedTuple):
    """One picture of a source.

    Attributes:
        image: (3, H, W) uint8 RGB, upright.
        name: of the frame within its source; names of label maps are made of it.
        time: seconds since the first frame; strictly increasing.
        duration: seconds until the next frame, as far as the source knows.
    """

    image: Tensor
    name: str
    time: Fraction
    duration: Fraction


@dataclass(frozen=True)
class SourceInfo:
    """What a source says about itself before it is read. Headers lie: its length is for display only.

    Attributes:
        name: for messages.
        fps: frames per second, the average where it varies.
        time_base: seconds; every frame's time is a multiple of it.
        seconds: declared length, ``None`` where nobody knows.
        pixel_aspect: width of a pixel, its height being 1.
        has_audio: whether there is sound, which nothing here reads.
    """

    name: str
    fps: Fraction
    time_base: Fraction
    seconds: float | None = None
    pixel_aspect: Fraction = Fraction(1)
    has_audio: bool = False


class FrameSource(Protocol):
    """Frames in time order, one at a time; iterating again starts anew.

    Attributes:
        info: known from the start.
        faults: what was found broken so far, in words; complete when the iteration has ended. Empty for a sound source. Broken
            frames are left out, and their time with them stays a gap.
    """

    info: SourceInfo
    faults: list[str]

    def __iter__(self) -> Iterator[Frame]:
        """The frames that can be read."""


def first_image(source: FrameSource) -> Tensor | None:
    """The first frame of a source that is opened for it alone: (3, H, W) uint8 RGB, or ``None`` where there is none."""
    frames = iter(source)
    first = next(frames, None)
    getattr(frames, "close", lambda: None)()
    return None if first is None else first.image


class ImageFrames:
    """Image files, or the frames of a dataset's clip, as a video of constant frame rate.

    Args:
        name: for messages.
        names: of the frames, in time order.
        fps: frames per second.
        read: gives a frame by its number.

    Raises:
        ValueError: if there is no frame, two have the same name, or the frame rate is not positive.
    """

    def __init__(self, name: str, names: Sequence[str], fps: Fraction | float, read: Callable[[int], Tensor]) -> None:
        if not names:
            raise ValueError(f"{name}: no frame")
        if not fps > 0:
            raise ValueError(f"fps is {fps}, expected more than 0")
        if len(set(names)) < len(names):
            twice = next(n for i, n in enumerate(names) if n in names[:i])
            raise ValueError(f"{name}: two files are frame {twice!r}; expected one each")
        self._names = tuple(names)
        self._read = read
        rate = Fraction(fps).limit_denominator(1001)
        self.info = SourceInfo(name, rate, 1 / rate, float(len(names) / rate))
        self.faults: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        """The frames; a file that cannot be read is a fault and leaves a gap."""
        self.faults.clear()
        tick, start = self.info.time_base, None
        for number, name in enumerate(self._names):
            try:
                image = self._read(number)
            except (OSError, ValueError) as error:
                self.faults.append(str(error))
                continue
            start = number if start is None else start
            yield Frame(image, name, (number - start) * tick, tick)

    @classmethod
    def of_files(cls, path: Path, fps: Fraction | float) -> ImageFrames:
        """An image, or those of a folder or of ``origin`` in it (VSPW), in the order of their names, numbers as numbers.

        Raises:
            ValueError: see the class, and if there is no image.
        """
        files = _images(path) or _images(path / "origin")
        if not files:
            raise ValueError(f"{path} holds no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
        return cls(str(path), [file.stem for file in files], fps, lambda number: read_rgb(files[number]))

    @classmethod
    def of_clip(cls, dataset: ClipDataset, name: str) -> ImageFrames:
        """A clip of a dataset, by its name or its number. Frames have the names of their files, where each has its own.

        Raises:
            ValueError: if there is no such clip.
        """
        clips = [clip.name for clip in dataset.clips]
        if name in clips:
            clip = clips.index(name)
        elif name.isdecimal() and int(name) < len(clips):
            clip = int(name)
        else:
            shown = ", ".join(clips[:5]) + (", ..." if len(clips) > 5 else "")
            raise ValueError(f"no clip {name!r}; expected one of the {len(clips)} names {shown}, or a number 0..{len(clips) - 1}")
        stems = [path.stem for path in dataset.clips[clip].images]
        names = stems if len(set(stems)) == len(stems) else [f"{frame:06d}" for frame in range(len(stems))]
        return cls(f"clip {clips[clip]}", names, dataset.fps, lambda frame: dataset.read_image(clip, frame))


class CameraFrames:
    """A camera, for as long as it delivers. Frames are timed by the clock when they arrive.

    A consumer slower than the camera makes the driver drop frames; nothing piles up here.

    Args:
        index: of the camera, counted from 0.

    Raises:
        OSError: if it cannot be opened.
    """

    def __init__(self, index: int) -> None:
        capture = cv2.VideoCapture(index)
        opened, rate = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        if not opened:
            raise OSError(f"camera {index} cannot be opened; a video file is given by its path")
        fps = Fraction(rate).limit_denominator(1001) if 0 < rate <= 1000 else Fraction(_CAMERA_FPS)
        self._index = index
        self.info = SourceInfo(f"camera {index}", fps, _CAMERA_TIME_BASE)
        self.faults: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the camera is gone, which is a fault, or until nobody asks any more."""
        self.faults.clear()
        capture = cv2.VideoCapture(self._index)
        try:
            start: float | None = None
            last, number = -self.info.time_base, 0
            while True:
                read, image = capture.read()
                if not read:
                    self.faults.append(f"{self.info.name} delivered no frame after frame {number}")
                    return
                now = time.monotonic()
                start = now if start is None else start
                ticks = round((now - start) / float(self.info.time_base))
                last = max(last + self.info.time_base, ticks * self.info.time_base)
                rgb = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1).contiguous()
                yield Frame(rgb, f"{number:06d}", last, 1 / self.info.fps)
                number += 1
        finally:
            capture.release()


def is_image(path: Path) -> bool:
    """Whether it is a file with the ending of an image, and not a hidden one."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _images(path: Path) -> list[Path]:
    found = [path] if is_image(path) else [p for p in path.iterdir() if is_image(p)] if path.is_dir() else []
    return sorted(found, key=natural_key)
