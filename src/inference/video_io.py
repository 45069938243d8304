"""Video files, one frame at a time: reading anything FFmpeg knows, writing H.264 that every player shows."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream
from torch import Tensor

log = logging.getLogger(__name__)


def read_video(path: str | Path) -> tuple[Iterator[Tensor], Fraction]:
    """Open a video file.

    Args:
        path: any container and codec that FFmpeg reads.

    Returns:
        Its frames, (3, H, W) uint8 RGB, upright (a phone's rotation applied), decoded as they are asked for; and its frames per
        second.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no readable video; while iterating, if a frame cannot be decoded. A file that merely ends early
            is a warning in the log.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no video file at {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video stream")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a readable video: {error}") from error
    if rate is None:
        raise ValueError(f"{path} does not say its frame rate")
    return _frames(path), Fraction(rate)


class VideoWriter:
    """Writes an mp4 (H.264, yuv420p). The file appears under its name when it is complete; after an error there is none.

    Use it as a context manager. The first frame sets the size; odd sizes are padded to even ones by repeating the border.

    Args:
        path: where to; an existing file is replaced.
        fps: frames per second; fractions such as 30000/1001 are kept exactly.
        quality: constant rate factor, 0 (lossless) .. 51.

    Raises:
        ValueError: if a value is out of range or ``path`` does not end in ``.mp4``.
    """

    def __init__(self, path: str | Path, fps: Fraction | float, quality: int = 20) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{path}: expected a name that ends in .mp4")
        if not fps > 0:
            raise ValueError(f"fps is {fps}, expected more than 0")
        if not 0 <= quality <= 51:
            raise ValueError(f"quality is {quality}, expected 0 (best) .. 51")
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.quality = quality
        self._partial = self.path.with_name(f".{self.path.stem}.{uuid.uuid4().hex[:8]}.partial.mp4")
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def write(self, frame: Tensor) -> None:
        """Append one frame, (3, H, W) uint8 RGB.

        Raises:
            ValueError: if it is not such a frame, or not of the first one's size.
        """
        if frame.ndim != 3 or frame.shape[0] != 3 or frame.dtype != torch.uint8:
            raise ValueError(f"frame is {tuple(frame.shape)} {frame.dtype}, expected (3, H, W) torch.uint8")
        height, width = frame.shape[-2:]
        if self._size is None:
            self._open(height, width)
        if self._size != (height, width):
            raise ValueError(f"{self.path}: frame of {height}x{width} in a video of {self._size}; expected one size")
        padded = frame.cpu()[None].float()
        if height % 2 or width % 2:
            padded = F.pad(padded, (0, width % 2, 0, height % 2), mode="replicate")
        array = np.ascontiguousarray(padded[0].byte().permute(1, 2, 0).numpy())
        self._encode(av.VideoFrame.from_ndarray(array, format="rgb24"))

    def close(self) -> None:
        """Finish the file and give it its name. Without any frame no file is made.

        Raises:
            ValueError: if no frame was written.
        """
        if self._container is None:
            raise ValueError(f"{self.path}: no frame was written, so there is no video")
        try:
            self._encode(None)
            self._container.close()
            self._partial.replace(self.path)
        except BaseException:
            self._abandon()
            raise
        self._container = self._stream = self._size = None

    def _open(self, height: int, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._partial), mode="w", format="mp4")
        stream = self._container.add_stream("libx264", rate=self.fps, options={"crf": str(self.quality), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        self._stream, self._size = stream, (height, width)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._container is not None and self._stream is not None
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _abandon(self) -> None:
        if self._container is not None:
            self._container.close()
        self._partial.unlink(missing_ok=True)
        self._container = self._stream = self._size = None


def _frames(path: Path) -> Iterator[Tensor]:
    number = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        frames = container.decode(stream)
        while True:
            try:
                frame = next(frames, None)
            except av.FFmpegError as error:
                raise ValueError(f"{path} is damaged after frame {number}: {error}") from error
            if frame is None:
                break
            image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield torch.rot90(image, round(frame.rotation / 90), dims=(1, 2)).contiguous()
            number += 1
        # FFmpeg ends quietly where a file was cut off. Edit lists may hide a frame or two, so a small gap is no sign of damage.
        declared = stream.frames or _frames_by_duration(container, stream)
        if number < 0.98 * declared - 2:
            log.warning("%s: only %d of %d frames could be read; the file seems cut off or damaged", path, number, declared)


def _frames_by_duration(container: InputContainer, stream: VideoStream) -> int:
    if container.duration is None or stream.average_rate is None:
        return 0
    return round(Fraction(container.duration, av.time_base) * stream.average_rate)
