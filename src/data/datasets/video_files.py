"""Unlabelled video files as clips, with random access to frames by decoding from the preceding codec key frame."""

import logging
from collections.abc import Sequence
from pathlib import Path

import av
import torch
from torch import Tensor

from src.data.clips import ClipDataset
from src.files.images.readers import CorruptFileError, natural_key
from src.files.suffixes import VIDEO_SUFFIXES, is_hidden, left_out_line
from src.files.video.container import error_text, frame_rate, open_video
from src.files.video.upright import UprightRgb
from src.structures import Clip

log = logging.getLogger(__name__)


class VideoFiles(ClipDataset):
    """The video files below a folder, without labels; ``images`` of a clip repeats the path of its file for every frame.

    Args:
        root: folder of videos, searched recursively.
        classes: K class names of the model, as the files have none.

    Attributes:
        fps: frames per second of the first file.

    Raises:
        FileNotFoundError: if the folder contains no video.
        ValueError: if a file is not a readable video; the message names the file.
    """

    def __init__(self, root: str | Path, classes: Sequence[str] = ()) -> None:
        self.root = Path(root)
        self.classes = tuple(classes)
        self.chosen_colors = ()
        files = [path for path in sorted(self.root.rglob("*"), key=natural_key) if path.is_file() and not is_hidden(path)]
        paths = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
        if not paths:
            raise FileNotFoundError(f"{self.root} holds no video; expected files ending in {', '.join(VIDEO_SUFFIXES)}")
        if len(paths) < len(files):
            log.warning(
                "%s", left_out_line(self.root, [path for path in files if path.suffix.lower() not in VIDEO_SUFFIXES], "videos")
            )
        indices = [_index_frames(path) for path in paths]
        self._times = [times for times, _ in indices]
        self.clips = [
            Clip(path.relative_to(self.root).with_suffix("").as_posix(), (path,) * len(times), (None,) * len(times))
            for path, times in zip(paths, self._times, strict=True)
        ]
        self.fps = indices[0][1]

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """Decode one frame.

        Raises:
            CorruptFileError: if the frame cannot be decoded; the message names file and frame.
        """
        path, time = self.clips[clip].images[frame], self._times[clip][frame]
        try:
            with open_video(path, frame_threads=False) as (container, stream):
                container.seek(time, stream=stream)
                for picture in container.decode(stream):
                    if picture.pts is not None and picture.pts >= time:
                        return UprightRgb(path)(picture, interleaved)
        except (av.FFmpegError, ValueError) as error:
            raise CorruptFileError(f"{path}: frame {frame} cannot be decoded ({error_text(error)})") from error
        raise CorruptFileError(f"{path}: frame {frame} cannot be decoded; the file ends before it")

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Raise ``ValueError``: video files have no labels."""
        raise ValueError(f"{self.clips[clip].images[frame]}: frame {frame} has no label; video files have none")


def _index_frames(path: Path) -> tuple[list[int], float]:
    """Return the times of all frames, sorted, in ticks of the stream, and the frames per second, without decoding."""
    try:
        with open_video(path, frame_threads=False) as (container, stream):
            fps = frame_rate(path, container, stream)
            times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
    except av.FFmpegError as error:
        raise ValueError(f"{path} is not a readable video ({error_text(error)})") from error
    if not times:
        raise ValueError(f"{path} contains no frames with times; expected a complete video")
    return times, float(fps)
