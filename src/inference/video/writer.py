"""Writer of H.264 videos that every player shows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from torch import Tensor

from src.files.video.partial import PartialVideo
from src.files.video.sound import SoundTrack

# Ticks longer than this could not separate frames that the timeline moves by less than one interval.
_MAX_TICK = Fraction(1, 10_000)
_MAX_TICKS_PER_SECOND = 1_000_000
_MAX_LOOKAHEAD_PIXELS = 2**24  # twice 4K


class VideoWriter(PartialVideo):
    """Writer of an MP4 file (H.264, yuv420p), which gets its name when complete; after an error there is no file.

    Use it as a context manager. The first frame sets the size; odd sizes are padded to even ones by repeating the border.

    Args:
        path: output file; an existing file is replaced.
        fps: frames per second; fractions such as 30000/1001 are kept exactly.
        quality: constant rate factor, 0 (lossless) .. 51.
        time_base: seconds; frame times are rounded to multiples of it, or of a fraction of it if it is longer than 0.1 ms.
            Default: one frame.
        pixel_aspect: width of a pixel divided by its height.
        sound: file that the frames are of, whose audio track is copied where MP4 can hold it.
        comment: comment in the file's metadata.
        in_place: write to ``path`` itself, an existing temporary file that the caller renames.

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
        sound: Path | None = None,
        comment: str | None = None,
        in_place: bool = False,
    ) -> None:
        super().__init__(Path(path), in_place)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"output is {path}; expected a name that ends in .mp4")
        if not fps > 0:
            raise ValueError(f"fps is {fps}; expected more than 0")
        if not 0 <= quality <= 51:
            raise ValueError(f"quality is {quality}; expected 0 (best) .. 51")
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.quality = quality
        self.pixel_aspect = pixel_aspect.limit_denominator(10_000)
        self._sound_file, self._comment = sound, comment
        self._sound: SoundTrack | None = None
        self._tick = _tick_of(time_base) if time_base is not None else 1 / self.fps
        self._next, self._end = 0, Fraction(0)
        self._size: tuple[int, int] | None = None

    def write(
        self, frame: Tensor, time: Fraction | None = None, duration: Fraction | None = None, stored: Fraction | None = None
    ) -> None:
        """Append one frame, (3, H, W) uint8 RGB.

        Args:
            frame: RGB image.
            time: presentation time, seconds, after that of the previous frame. Default: one frame later.
            duration: seconds; has an effect only for the last frame. Default: one frame.
            stored: time in the file that the frame and the sound are of, seconds.

        Raises:
            ValueError: if the shape or type is wrong, or the size differs from the first frame's.
        """
        if frame.ndim != 3 or frame.shape[0] != 3 or frame.dtype != torch.uint8:
            raise ValueError(f"frame is {tuple(frame.shape)} {frame.dtype}; expected (3, H, W) torch.uint8")
        height, width = frame.shape[-2:]
        if self._size is None:
            self._open(height, width)
        if self._size != (height, width):
            first = "x".join(map(str, self._size or ()))
            raise ValueError(f"{self.path}: frame is {height}x{width}; expected the size of the first frame, {first}")
        pixels = frame.cpu().permute(1, 2, 0).numpy()
        if height % 2 or width % 2:
            pixels = cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        usual = max(1, round(1 / self.fps / self._tick))
        # The encoder refuses two frames at the same tick.
        tick = self._next if time is None else max(round(time / self._tick), self._next - usual + 1 if self._next else 0)
        length = usual if duration is None else max(1, round(duration / self._tick))
        picture.pts, picture.time_base = tick, self._tick
        self._durations[tick] = length
        self._next = tick + usual
        self._end = (tick + length) * self._tick
        if self._sound is not None and stored is not None:
            self._sound.align(tick * self._tick, stored)
        self._encode(picture)

    def abandon(self) -> None:
        """Delete an incomplete file; a completed file stays."""
        try:
            super().abandon()
        finally:
            if self._sound is not None:
                self._sound.close()
            self._size = self._sound = None

    def _complete(self, container: OutputContainer) -> None:
        if self._sound is not None:
            self._sound.copy(self._end)
        try:
            container.close()
        except ValueError as error:
            # All frames are written; a last packet of the sound is refused.
            if self._sound is None or not self._sound.give_up(error):
                raise

    def _muxed(self, packet: Packet[VideoStream]) -> None:
        if self._sound is not None:
            self._sound.copy(Fraction(0) if packet.pts is None else packet.pts * self._tick)

    def _open(self, height: int, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # "file:" because FFmpeg takes the text before a colon for a protocol.
        self._container = av.open(f"file:{self._partial}", mode="w", format="mp4")
        if self._comment is not None:
            self._container.metadata["comment"] = self._comment
        options = {"crf": str(self.quality), "preset": "veryfast"}
        if height * width > _MAX_LOOKAHEAD_PIXELS:
            # Otherwise the encoder holds ten frames, more for every core, and each in four copies.
            options |= {"tune": "zerolatency", "x264-params": "ref=1:scenecut=0:subme=0"}
        stream = self._container.add_stream("libx264", rate=self.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        codec = stream.codec_context
        codec.time_base, codec.sample_aspect_ratio = self._tick, self.pixel_aspect
        # Without B-frames, packets leave in time order, and the last packet has the last frame's duration.
        codec.max_b_frames = 0
        # Players guess missing color properties by the frame size.
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._stream, self._size = stream, (height, width)
        self._sound = None if self._sound_file is None else SoundTrack.of_file(self._sound_file)
        if self._sound is not None:
            self._sound.join(self._container)


def _tick_of(time_base: Fraction) -> Fraction:
    if time_base.denominator > _MAX_TICKS_PER_SECOND:
        return Fraction(1, 90_000)
    while time_base > _MAX_TICK:
        time_base /= 2
    return time_base
