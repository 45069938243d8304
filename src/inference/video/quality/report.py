"""Report of one video: figures and thumbnails collected frame by frame, and the page at the end."""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from src.inference.video.prediction import FramePrediction
from src.inference.video.quality.outcome import VideoPrediction
from src.inference.video.sources import SourceInfo
from src.structures import Size
from src.visualization.palette import Palette
from src.visualization.report.charts import clock
from src.visualization.report.page import Cost, Header, report_page
from src.visualization.report.thumbnails import Thumbnails
from src.visualization.report.timeline import FrameFigures, Timeline


@dataclass(frozen=True)
class About:
    """Facts about a run for the report of a video.

    Attributes:
        model: name of the checkpoint.
        command: command that made the prediction; empty if unknown.
        settings: settings that the results depend on.
        gflops: returns the GFLOPs of key and non-key frames of an image size (H, W); ``None`` if they are not counted.
    """

    model: str = ""
    command: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    gflops: Callable[[Size], tuple[float, float]] | None = None


class VideoReport:
    """Report of the frames of one source, of constant size.

    Args:
        info: source.
        classes: K names.
        palette: K colors.
        about: facts about the run.
    """

    def __init__(self, info: SourceInfo, classes: Sequence[str], palette: Palette, about: About) -> None:
        self._info, self._classes, self._palette, self._about = info, tuple(classes), palette, about
        self._timeline, self._thumbnails = Timeline(len(self._classes)), Thumbnails()
        self._size: Size | None = None

    def add(
        self,
        result: FramePrediction,
        shares: NDArray[np.float64],
        overlay: Tensor,
        flicker: float | None,
        confidence: float | None = None,
    ) -> None:
        """Add the next frame: class shares (K,), overlay (3, H, W) uint8, flicker and mean confidence 0..1 where known."""
        frame = result.frame
        start, end = float(frame.time), float(frame.time + frame.duration)
        reason = (result.reason or "") if result.is_key else None
        self._timeline.add(FrameFigures(start, end, shares, reason, result.seconds, flicker, confidence))
        self._thumbnails.add(start, overlay, flicker)
        self._size = self._size or (overlay.shape[-2], overlay.shape[-1])

    def write(self, path: Path, outcome: VideoPrediction, files: Sequence[str]) -> None:
        """Write the page of at least one frame; ``files`` are the names of the outputs beside it."""
        header = Header(
            Path(self._info.name).name,
            _state(outcome),
            outcome.exit_code == 0,
            self._facts(outcome),
            self._about.command,
            {name: str(value) for name, value in self._about.settings.items()},
            files,
        )
        page = report_page(header, self._timeline, self._thumbnails, self._classes, self._palette, self._costs())
        # File names may have bytes that are no text.
        path.write_text(page, encoding="utf-8", errors="backslashreplace")

    def _facts(self, outcome: VideoPrediction) -> dict[str, str]:
        progress, size = outcome.progress, self._size or (0, 0)
        means = {name: self._timeline.means(name).overall for name in ("flicker", "confidence")}
        return {
            "model": self._about.model,
            "frames": str(outcome.frames),
            "length": clock(progress.position, progress.position),
            "rate": f"{float(self._info.fps):.4g} fps",
            "size": f"{size[1]} x {size[0]} pixels",
            "key frames": f"{progress.key_frames} ({progress.key_share:.0%})",
            "predicted at": f"{progress.fps:.1f} fps",
            **{f"mean {name}": f"{100 * mean:.2f} %" for name, mean in means.items() if mean is not None},
        }

    def _costs(self) -> list[Cost]:
        gflops: Sequence[float | None] = (None, None)
        if self._about.gflops is not None and self._size is not None:
            gflops = self._about.gflops(self._size)
        rows = []
        for name, kind, cost in zip(("key", "other"), ("key frame", "non-key frame"), gflops, strict=True):
            seconds = self._timeline.means(name)
            if seconds.median is not None:
                rows.append(Cost(kind, int(seconds.count.sum()), 1e3 * seconds.median, cost))
        return rows


def _state(outcome: VideoPrediction) -> str:
    if outcome.stop_signal is not None:
        words = f"Stopped by {signal.Signals(outcome.stop_signal).name} after {outcome.frames} frames"
    elif outcome.decode_errors:
        words = f"Damaged input: {outcome.frames} frames could be decoded"
    else:
        words = "Complete"
    return "\n".join([f"{words} (exit code {outcome.exit_code})", *outcome.decode_errors])
