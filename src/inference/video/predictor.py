"""Predictor that writes the results of one source after another to files."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from src.files.results.fingerprint import Fingerprint
from src.inference.step_result import LabelStream
from src.inference.video.formats.exports import check_classes
from src.inference.video.outputs import OutputOptions, VideoOutputs
from src.inference.video.prediction import PredictionProgress, predict_video
from src.inference.video.progress import progress_bar
from src.inference.video.sources import FrameSource
from src.visualization.palette import Palette

log = logging.getLogger(__name__)

StopSignals = tuple[threading.Event, list[int]]
"""Event that a signal sets, and the signals received so far."""


@dataclass(frozen=True)
class VideoPrediction:
    """Result of the prediction of one source.

    Attributes:
        stop_signal: signal that ended the prediction early, or ``None``.
    """

    progress: PredictionProgress
    decode_errors: list[str]
    stop_signal: int | None

    @property
    def frames(self) -> int:
        """Number of predicted frames."""
        return self.progress.frames

    @property
    def exit_code(self) -> int:
        """0; 1 after decode errors; 128 + signal after a signal."""
        return 128 + self.stop_signal if self.stop_signal is not None else int(bool(self.decode_errors))


@dataclass(frozen=True)
class VideoPredictor:
    """A loaded model with the options of its predictions.

    Attributes:
        max_frames: maximum number of frames of each source; ``None`` for all.
        stream_for: returns the stream of a source, if it depends on the cost of the source's frames; ``None`` for ``stream``.
        weights: identity of the model's weights, for the marker of the results.

    Raises:
        ValueError: if an export cannot hold the classes.
    """

    stream: LabelStream
    classes: Sequence[str]
    palette: Palette
    options: OutputOptions
    max_frames: int | None
    stream_for: Callable[[FrameSource], LabelStream] | None = None
    weights: Fingerprint | None = None

    def __post_init__(self) -> None:
        check_classes(self.options.exports, len(self.classes))

    def predict(self, source: FrameSource, output: Path, console: Console, signals: StopSignals) -> VideoPrediction:
        """Predict one source, until a signal, and write the results to a new folder or file, incomplete without a frame.

        ``signals`` are those of :func:`src.command_line.signals.stopping_on_signals`.
        """
        stop, received = signals
        stream = self.stream if self.stream_for is None else self.stream_for(source)
        if stream.delays and not source.info.is_picture:
            log.info("offline: results are late by at most one key interval, whose frames stay in memory")
        with VideoOutputs(output, source.info, self.classes, self.palette, self.options) as outputs:
            with progress_bar(console, source, self.max_frames) as progress:
                done = predict_video(
                    stream, source, outputs.write,
                    with_flow=self.options.flow_pictures, max_frames=self.max_frames, stop=stop, progress=progress,
                )  # fmt: skip
            if done.frames:
                outputs.finish()
        if done.most_held:
            log.info("at most %d frames waited, %.1f MB as decoded", done.most_held, done.most_held_bytes / 1e6)
        return VideoPrediction(done, list(source.decode_errors), received[0] if received else None)
