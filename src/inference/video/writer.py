"""Video files: reading anything FFmpeg knows as plain tensors, writing H.264 that every player shows."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
import torch
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from torch import Tensor

from src.inference.video.decoder import VideoFrames

log = logging.getLogger(__name__)

# A coarser clock could not tell the times of frames apart that had to be moved a little.
_COARSEST_CLOCK = Fraction(1, 10_000)
_FINEST_CLOCK = 1_000_000


def read_video(path: str | Path) -> tuple[Iterator[Tensor], Fraction]:
    """Open a video file.

    Args:
        path: any container and codec that FFmpeg reads.

    Returns:
        Its frames, (3, H, W) uint8 RGB, upright (a phone's rotation applied), decoded as they are asked for; and its frames per
        second. :class:`src.inference.video.decoder.VideoFrames` gives their times, too.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no readable video; and, behind the last frame that could be decoded, if it is damaged. A file that
            merely ends early is a warning in the log.
    """
    source = VideoFrames(path)
    return _images(source), source.info.fps


class VideoWriter:
    """Writes an mp4 (H.264, yuv420p). The file appears under its name when it is complete; after an error there is none.

    Use it as a context manager. The first frame sets the size; odd sizes are padded to even ones by repeating the border.

    Args:
        path: where to; an existing file is replaced.
        fps: frames per second; fractions such as 30000/1001 are kept exactly.
        quality: constant rate factor, 0 (lossless) .. 51.
        time_base: seconds; times of frames are rounded to multiples of it (or of a fraction of it, where it is coarse). Default:
            one frame.
        pixel_aspect: width of a pixel, its height being 1.

    Raises:
        ValueError: if a value is out of range or ``path`` does not end in ``.mp4``.
    """

    def __init__(
        self,
        path: str | Path,
        fps: Fraction | float,
        quality: int = 20,
        time_base: Fraction | None = None,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{path}: expected a name that ends in .mp4")
        if not fps > 0:
            raise ValueError(f"fps is {fps}, expected more than 0")
        if not 0 <= quality <= 51:
            raise ValueError(f"quality is {quality}, expected 0 (best) .. 51")
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.quality = quality
        self.pixel_aspect = pixel_aspect.limit_denominator(10_000)
        self._tick = _clock(time_base) if time_base is not None else 1 / self.fps
        self._next = 0
        self._durations: dict[int, int] = {}
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
            self.abandon()

    def write(self, frame: Tensor, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append one frame, (3, H, W) uint8 RGB.

        Args:
            frame: the picture.
            time: when it is shown, seconds; later than the frame before. Default: one frame after it.
            duration: how long, seconds, which matters for the last frame alone. Default: one frame.

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
        pixels = frame.cpu().permute(1, 2, 0).numpy()
        if height % 2 or width % 2:
            pixels = cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        usual = max(1, round(1 / self.fps / self._tick))
        # Two frames that the clock cannot tell apart would be refused by the encoder.
        tick = self._next if time is None else max(round(time / self._tick), self._next - usual + 1 if self._next else 0)
        length = usual if duration is None else max(1, round(duration / self._tick))
        picture.pts, picture.time_base = tick, self._tick
        self._durations[tick] = length
        self._next = tick + usual
        self._encode(picture)

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
            self.abandon()
            raise
        self._container = self._stream = self._size = None

    def abandon(self) -> None:
        """Delete what is not finished; nothing happens to a finished file."""
        if self._container is not None:
            self._container.close()
        self._partial.unlink(missing_ok=True)
        self._container = self._stream = self._size = None

    def _open(self, height: int, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # "file:" because FFmpeg takes what stands before a colon in a name for a protocol.
        self._container = av.open(f"file:{self._partial}", mode="w", format="mp4")
        stream = self._container.add_stream("libx264", rate=self.fps, options={"crf": str(self.quality), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        codec = stream.codec_context
        codec.time_base, codec.sample_aspect_ratio = self._tick, self.pixel_aspect
        # Without frames that refer to later ones, packets leave in time order and the last one's duration is the last frame's.
        codec.max_b_frames = 0
        # Unsaid, players guess by the size of the picture.
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._stream, self._size = stream, (height, width)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._container is not None and self._stream is not None
        for packet in self._stream.encode(frame):
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)


def _clock(time_base: Fraction) -> Fraction:
    if time_base.denominator > _FINEST_CLOCK:
        return Fraction(1, 90_000)
    while time_base > _COARSEST_CLOCK:
        time_base /= 2
    return time_base


def _images(source: VideoFrames) -> Iterator[Tensor]:
    for frame in source:
        yield frame.image
    damage = [fault for fault in source.faults if "cut off" not in fault]
    for fault in source.faults:
        log.warning("%s", fault)
    if damage:
        raise ValueError("; ".join(damage))
