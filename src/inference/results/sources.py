"""Sources as a Python program has them: paths, camera numbers, pictures and frames in memory."""

from collections.abc import Generator, Iterable, Sized
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.inference.frame_input import one_image
from src.inference.video.decoder import VideoFrames
from src.inference.video.live.address import is_address
from src.inference.video.live.camera import open_camera
from src.inference.video.live.opening import open_address
from src.inference.video.pages import image_source
from src.inference.video.sources import Frame, FrameSource, SourceInfo, frame_rate, is_image

Picture = Tensor | NDArray[np.uint8] | Image.Image
"""RGB of 0..255: uint8 tensor (3, H, W), uint8 array (H, W, 3) or 8-bit PIL image."""

Source = str | Path | int | FrameSource | Picture | Iterable[Picture]
"""Path of a video, an image or a folder of images; address of a stream; number of a camera; a picture; a list, tensor
(T, 3, H, W), array (T, H, W, 3) or iterator of pictures; or a source of :mod:`src.inference.video`."""


def open_path(path: Path, fps: Fraction | float) -> FrameSource:
    """Open a video file, an image or a folder of images; ``fps`` is the rate of the latter."""
    return image_source(path, fps) if path.is_dir() or is_image(path) else VideoFrames(path)


def open_input(source: Source, fps: Fraction | float) -> FrameSource:
    """Open a source; ``fps`` is the rate of folders and of frames in memory.

    Raises:
        OSError: if a file or camera cannot be opened.
        ValueError: if a file cannot be read, or frames in memory have another type or layout.
    """
    if isinstance(source, str) and is_address(source):
        return open_address(source)
    if isinstance(source, (str, Path)):
        path = Path(source)
        path = path if path.exists() or path.parts[:1] != ("~",) else path.expanduser()
        if path.exists() or not str(source).isdecimal():
            return open_path(path, fps)
        source = int(str(source))
    if isinstance(source, int):
        return open_camera(source)
    return source if isinstance(source, FrameSource) else MemoryFrames(source, fps)


class MemoryFrames:
    """:class:`FrameSource` of a picture, or of pictures in memory or from an iterator, of constant frame rate.

    Args:
        frames: see :data:`Source`. An iterator is read once.
        fps: frames per second.

    Raises:
        ValueError: if there is no frame, or ``frames`` is nothing of that; while reading, if a frame has another type or layout.
    """

    def __init__(self, frames: Any, fps: Fraction | float) -> None:
        is_picture = isinstance(frames, Image.Image) or (isinstance(frames, (Tensor, np.ndarray)) and frames.ndim < 4)
        if not is_picture and not isinstance(frames, Iterable):
            raise ValueError(
                f"source is a {type(frames).__name__}; expected a path, the number of a camera, a picture or pictures: uint8 RGB "
                "tensors (3, H, W), arrays (H, W, 3) or PIL images"
            )
        self._frames: Iterable[Any] = [frames] if is_picture else frames
        rate = frame_rate(fps)
        self._count = len(self._frames) if isinstance(self._frames, Sized) else None
        if self._count == 0:
            raise ValueError("source has no frame; expected at least one")
        seconds = None if self._count is None else float(self._count / rate)
        self.info = SourceInfo("frames in memory", rate, 1 / rate, seconds, is_picture=is_picture)
        self.decode_errors: list[str] = []

    def __iter__(self) -> Generator[Frame, None, None]:
        """Yield the frames, copied: the program may reuse its memory."""
        tick = self.info.time_base
        for number, frame in enumerate(self._frames):
            yield Frame(_pixels(frame, number), f"{number:06d}", number * tick, tick)

    def stored_frames(self) -> int | None:
        """Return the number of frames; ``None`` for an iterator."""
        return self._count


def _pixels(frame: Any, number: int) -> Tensor:
    try:
        image = one_image(frame)[0]
    except (TypeError, ValueError) as error:
        raise ValueError(f"frame {number}: {error}") from error
    if image.dtype != torch.uint8:
        found = str(image.dtype).removeprefix("torch.")
        raise ValueError(f"frame {number}: image is {found}; expected uint8 RGB; use image.round().to(torch.uint8)")
    return image.cpu().clone(memory_format=torch.contiguous_format)
