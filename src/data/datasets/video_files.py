"""Unlabelled video files as clips: frames by number, decoded from the nearest key picture of the codec before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import torch
from torch import Tensor

from src.data.clips import Color
from src.data.datasets.palette import distinct_palette
from src.files.images import CorruptFileError, natural_key
from src.structures import Clip

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")


class VideoFiles:
    """The video files below a folder, none of their frames labelled.

    Every frame of a clip names the file it is in.

    Args:
        root: folder of videos; those in folders below it count, too.
        classes: K names of what a model may find in them; the files know none.
        palette: K colors; default distinct ones.

    Raises:
        FileNotFoundError: if there is no video.
        ValueError: if a file is not a readable video; the message names it.
    """

    def __init__(self, root: str | Path, classes: Sequence[str] = (), palette: Sequence[Color] | None = None) -> None:
        self.root = Path(root)
        self.classes = tuple(classes)
        self.palette = tuple(distinct_palette(len(classes)) if palette is None and classes else palette or ())
        if len(self.classes) != len(self.palette):
            raise ValueError(f"{len(self.classes)} classes but {len(self.palette)} palette colors; expected one each")
        paths = [p for p in sorted(self.root.rglob("*"), key=natural_key) if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]
        if not paths:
            raise FileNotFoundError(f"{self.root} holds no video; expected files ending in {', '.join(VIDEO_SUFFIXES)}")
        indices = [_index_frames(path) for path in paths]
        self._times = [times for times, _ in indices]
        self.clips = [
            Clip(path.relative_to(self.root).with_suffix("").as_posix(), (path,) * len(times), (None,) * len(times))
            for path, times in zip(paths, self._times, strict=True)
        ]
        self.fps = indices[0][1]
        """Of the first file; the others may differ."""

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """One frame, (3, H, W) uint8 RGB.

        Raises:
            CorruptFileError: if it cannot be decoded; the message names file and frame.
        """
        path, time = self.clips[clip].images[frame], self._times[clip][frame]
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                container.seek(time, stream=stream)
                for picture in container.decode(stream):
                    if picture.pts is not None and picture.pts >= time:
                        image = torch.from_numpy(picture.to_ndarray(format="rgb24")).permute(2, 0, 1)
                        image = torch.rot90(image, round(picture.rotation / 90), dims=(1, 2))
                        return image if interleaved else image.contiguous()
        except av.FFmpegError as error:
            raise CorruptFileError(f"{path}: frame {frame} cannot be decoded ({error})") from error
        raise CorruptFileError(f"{path}: frame {frame} cannot be decoded; the file ends before it")

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """There is none.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.clips[clip].images[frame]}: frame {frame} has no label; video files have none")

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """``None``: video files know no flow."""
        return None


def _index_frames(path: Path) -> tuple[list[int], float]:
    """The times of all frames, in order and in ticks of the stream, and the frames per second. Nothing is decoded."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video stream")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a readable video ({error})") from error
    if not times or rate is None:
        raise ValueError(f"{path} holds no frames or does not say its frame rate")
    return times, float(rate)
