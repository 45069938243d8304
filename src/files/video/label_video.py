"""Label maps as a lossless video: FFV1 in Matroska, grey values are class indices."""

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

from src.files.video.container import error_text, open_video
from src.files.video.partial import PartialVideo

LABEL_VIDEO = "labels.mkv"
"""Name of the label video of a prediction."""
_SUFFIX = ".mkv"
_TYPES: dict[str, type[np.uint8] | type[np.uint16]] = {"gray": np.uint8, "gray16le": np.uint16}
# The adaptive range coder takes 0.72 to 0.94 of the size of the default one. Every frame can be decoded alone and has a
# checksum.
_CODING = {"level": "3", "coder": "range_def", "slicecrc": "1", "g": "1"}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_TICK = Fraction(1, 1000)  # Matroska's, as FFmpeg writes it


class LabelFrame(NamedTuple):
    """One label map of a video.

    Attributes:
        labels: (H, W) uint8 or uint16, class indices.
        time: presentation time, seconds, a multiple of 1 ms.
    """

    labels: NDArray[Any]
    time: Fraction


class LabelVideoWriter(PartialVideo):
    """Writer of a label video, which gets its name when complete; after an error there is no file.

    Use it as a context manager. The first frame sets the size.

    Args:
        path: output file that ends in ``.mkv``; an existing file is replaced.
        fps: frames per second, which the file declares.
        num_classes: up to 256 classes are written in 8 bits, more in 16.
        pixel_aspect: width of a pixel divided by its height.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(self, path: Path, fps: Fraction, num_classes: int, pixel_aspect: Fraction = Fraction(1)) -> None:
        if path.suffix.lower() != _SUFFIX:
            raise ValueError(f"label video is {path}; expected a name that ends in {_SUFFIX}")
        if not fps > 0:
            raise ValueError(f"fps is {fps}; expected more than 0")
        super().__init__(path)
        self.fps, self.pixel_aspect = fps.limit_denominator(100_000), pixel_aspect.limit_denominator(10_000)
        self._format = "gray" if num_classes <= 256 else "gray16le"
        self._tick, self._end = -1, Fraction(0)

    def write(self, labels: NDArray[Any], time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append one label map, (H, W) integers.

        Args:
            labels: class indices; 255 for pixels without a class.
            time: presentation time, seconds, rounded to 1 ms. Default: the end of the previous frame.
            duration: seconds. Default: one frame.

        Raises:
            ValueError: if the size differs from the first frame's, or a value does not fit.
        """
        pixels: NDArray[Any] = np.ascontiguousarray(labels, _TYPES[self._format])
        if not np.array_equal(pixels, labels):
            raise ValueError(f"{self.path}: label {int(labels.max())}; expected values of {8 * pixels.itemsize} bits")
        if self._stream is None:
            self._stream = self._open(*pixels.shape)
        if pixels.shape != (self._stream.height, self._stream.width):
            found, first = ("x".join(map(str, size)) for size in (pixels.shape, (self._stream.height, self._stream.width)))
            raise ValueError(f"{self.path}: label map is {found} (HxW); expected the size of the first one, {first}")
        time = self._end if time is None else time
        self._end = time + (1 / self.fps if duration is None else duration)
        self._tick = max(round(time / _TICK), self._tick + 1)
        frame = av.VideoFrame.from_ndarray(pixels, format=self._format)
        frame.pts, frame.time_base, frame.color_range = self._tick, _TICK, ColorRange.JPEG
        self._durations[self._tick] = max(1, round((self._end - time) / _TICK))
        self._encode(frame)

    def _open(self, height: int, width: int) -> VideoStream:
        # "file:" because FFmpeg takes the text before a colon for a protocol.
        self._container = av.open(f"file:{self._partial}", mode="w", format="matroska")
        stream = self._container.add_stream("ffv1", rate=self.fps, options=_CODING)
        stream.width, stream.height, stream.pix_fmt = width, height, self._format
        codec = stream.codec_context
        # Full range, so that players and converters do not scale the values.
        codec.time_base, codec.sample_aspect_ratio, codec.color_range = _TICK, self.pixel_aspect, ColorRange.JPEG
        return stream


def read_label_video(path: Path) -> Iterator[LabelFrame]:
    """Read the label maps of a video, FFV1 of grey values with checksums as :class:`LabelVideoWriter` writes it, in time order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is another video, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a label video")
    with open_video(path) as (container, stream):
        codec = stream.codec_context
        if codec.name != "ffv1" or codec.pix_fmt not in _TYPES:
            raise ValueError(f"{path} is {codec.name}, {codec.pix_fmt}; expected a label video: ffv1, {' or '.join(_TYPES)}")
        try:
            for packet in container.demux(stream):
                # FFmpeg hides damage: it repeats the part of the frame before.
                if packet.size and not _is_intact(bytes(packet)):
                    raise ValueError(
                        f"{path}: the frame at {float((packet.pts or 0) * packet.time_base):.3f} s has no valid checksum; "
                        "expected an undamaged file, written with slicecrc=1"
                    )
                for frame in packet.decode():
                    yield LabelFrame(frame.to_ndarray(), (frame.pts or 0) * (frame.time_base or _TICK))
        except av.FFmpegError as error:
            raise ValueError(f"{path} is damaged: {error_text(error)}") from error


def count_frames(path: Path) -> int:
    """Return the number of frames in a video file without decoding them; errors as of :func:`open_video`."""
    with open_video(path) as (container, stream):
        return sum(packet.size > 0 for packet in container.demux(stream))


def _is_intact(packet: bytes) -> bool:
    """Return whether the CRC-32 of all slices is right: each slice ends in one that leaves a remainder of 0 (RFC 9043, 4.8.2).

    FFV1 counts from the highest bit and starts at 0, zlib from the lowest bit and at its complement.
    """
    return zlib.crc32(packet.translate(_REVERSED), 0xFFFFFFFF) == 0xFFFFFFFF
