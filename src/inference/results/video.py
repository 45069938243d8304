"""Result of a video: its frames, and the files and tables of ``src.predict`` from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.inference.results.frame import FrameResult
from src.inference.video.output_places import check_output, output_scratch
from src.inference.video.outputs import OutputOptions, VideoOutputs, save_labels
from src.inference.video.sources import SourceInfo
from src.visualization.overlay_painter import Legend
from src.visualization.palette import DEFAULT_ALPHA

if TYPE_CHECKING:
    import pandas as pd


class VideoResult:
    """Labelled frames of a video, with their images: ``for frame in video``, ``video[3]``, ``len(video)``.

    Memory holds 4 bytes per pixel of every frame; ``predict(..., stream=True)`` yields frames of videos that are too long for it.

    Attributes:
        frames: results of the frames, in order; at least one.
        info: properties of the source: name, frames per second, size of pixels.
        decode_errors: one sentence for each error of a damaged source; its readable frames are labelled.
    """

    def __init__(self, frames: Iterable[FrameResult], info: SourceInfo, decode_errors: list[str]) -> None:
        self.frames = tuple(frames)
        self.info = info
        self.decode_errors = decode_errors

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[FrameResult]:
        return iter(self.frames)

    def __getitem__(self, index: int) -> FrameResult:
        return self.frames[index]

    def __repr__(self) -> str:
        keys = sum(frame.is_key for frame in self)
        return f"VideoResult({self.info.name}: {len(self)} frames, {keys} key frames, {self.duration:.2f} s)"

    @property
    def duration(self) -> float:
        """Length of the video, seconds."""
        last = self.frames[-1].prediction.frame
        return float(last.time + last.duration)

    def save_video(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        alpha: float = DEFAULT_ALPHA,
        legend: Legend = "side",
        key_marks: bool = False,
        source_beside: bool = False,
        sound: bool = True,
        quality: int = 20,
    ) -> Path:
        """Write the overlay as ``src.predict`` does: H.264 with the times and the sound of the source.

        Args:
            path: file ``.mp4``; of a single picture ``.png`` or ``.jpg``.
            overwrite: whether a file that this project wrote may be replaced; others never are.
            alpha: weight of the class colors, 0..1.
            legend: place of the class names: ``side``, ``bottom`` or ``off``.
            key_marks: whether key frames are marked in the corner, with their reasons.
            source_beside: whether the frames are shown to the left.
            sound: whether the audio track of a video file is copied.
            quality: constant rate factor, 0 (lossless) .. 51.

        Returns:
            The path.

        Raises:
            FileExistsError: if the file exists and may not be replaced.
            OSError: if it cannot be written.
            ValueError: if the suffix or an option is out of range.
        """
        path = Path(path)
        options = OutputOptions(
            alpha=alpha, legend=legend, key_marks=key_marks, source_beside=source_beside, sound=sound, quality=quality,
            is_file=True,
        )  # fmt: skip
        check_output(path, options, self.info.is_picture, overwrite)
        naming = self.frames[0].naming
        with output_scratch(path, is_file=True) as scratch:
            with VideoOutputs(scratch.new, self.info, naming.classes, naming.palette, options) as outputs:
                for frame in self:
                    outputs.write(frame.prediction)
                outputs.finish()
            scratch.commit({}, overwrite)
        return path

    def save_labels(self, folder: str | Path) -> list[Path]:
        """Write ``<frame>.png`` for every frame, as ``labels=true`` of ``src.predict``: class indices at the size of the frame.

        Raises:
            FileExistsError: if a file exists: label maps have no mark by which those of this project are known.
            OSError: if a file cannot be written.
        """
        folder = Path(folder)
        paths = [folder / f"{frame.name}.png" for frame in self]
        existing = [path for path in paths if path.exists()]
        if existing:
            raise FileExistsError(f"{existing[0]} exists; expected no file of that name; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        for frame in self:
            save_labels(folder, frame.prediction)
        return paths

    def to_dataframe(self) -> pd.DataFrame:
        """Return the table of ``class_share.csv``, a row per frame.

        Columns: ``frame`` (number), ``name``, ``seconds`` since the first frame, ``key``, ``reason`` (empty for propagated
        frames), ``disoccluded`` (share of the pixels without a source in the key frame, NaN where unknown), and the share of the
        pixels of every class, 0..1.
        """
        import pandas as pd  # takes a second

        rows = [
            {
                "frame": frame.index,
                "name": frame.name,
                "seconds": frame.time,
                "key": frame.is_key,
                "reason": frame.reason or "",
                "disoccluded": np.nan if frame.prediction.disoccluded_share is None else frame.prediction.disoccluded_share,
                **frame.class_shares,
            }
            for frame in self
        ]
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """Return figures of the video as plain values.

        ``source`` (name), ``frames``, ``key_frames`` (numbers), ``duration`` (seconds), ``fps`` (frames per second of the
        source), ``size`` ((H, W) of the first frame, pixels), ``network_ms`` (mean milliseconds of the networks per frame),
        ``class_shares`` (mean over frames by class name, 0..1) and ``decode_errors``.
        """
        shares = np.mean([list(frame.class_shares.values()) for frame in self], 0)
        height, width = self.frames[0].image.shape[-2:]
        return {
            "source": self.info.name,
            "frames": len(self),
            "key_frames": sum(frame.is_key for frame in self),
            "duration": self.duration,
            "fps": float(self.info.fps),
            "size": (height, width),
            "network_ms": 1e3 * sum(frame.seconds for frame in self) / len(self),
            "class_shares": dict(zip(self.frames[0].classes, shares.tolist(), strict=True)),
            "decode_errors": list(self.decode_errors),
        }
