"""Predictor that writes the results of one source after another to files."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from src.files.results.fingerprint import Fingerprint
from src.inference.step_result import LabelStream
from src.inference.video.formats.exports import check_classes
from src.inference.video.live.page import LivePage
from src.inference.video.outputs import OutputOptions, VideoOutputs
from src.inference.video.prediction import FramePrediction, PredictionProgress, predict_video
from src.inference.video.progress import progress_bar
from src.inference.video.quality.outcome import VideoPrediction as VideoPrediction
from src.inference.video.quality.report import About
from src.inference.video.sources import FrameSource
from src.visualization.palette import Palette

log = logging.getLogger(__name__)

StopSignals = tuple[threading.Event, list[int]]
"""Event that a signal sets, and the signals received so far."""


@dataclass(frozen=True)
class VideoPredictor:
    """A loaded model with the options of its predictions.

    Attributes:
        max_frames: maximum number of frames of each source; ``None`` for all.
        stream_for: returns the stream of a source, if it depends on the cost of the source's frames; ``None`` for ``stream``.
        max_seconds: frames from that time on are left out; ``None``: none.
        weights: identity of the model's weights, for the marker of the results.
        about: facts for reports.

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
    about: About = field(default_factory=About)
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_classes(self.options.exports, len(self.classes))

    def predict(
        self, source: FrameSource, output: Path, console: Console, signals: StopSignals, page: LivePage | None = None
    ) -> VideoPrediction:
        """Predict one source, until a signal, and write the results to a new folder or file, incomplete without a frame.

        ``signals`` are those of :func:`src.command_line.signals.stopping_on_signals`; ``page`` shows the frames.
        """
        stop, received = signals
        stream = self.stream if self.stream_for is None else self.stream_for(source)
        if stream.delays and not source.info.is_picture:
            log.info("offline: results are late by at most one key interval, whose frames stay in memory")
        with VideoOutputs(output, source.info, self.classes, self.palette, self.options, self.about) as outputs:
            with progress_bar(console, source, self.max_frames) as progress:

                def consume(result: FramePrediction) -> None:
                    picture = outputs.write(result)
                    if page is not None:
                        page.show(picture)

                def report(now: PredictionProgress) -> None:
                    progress(now)
                    if page is not None:
                        page.state = {
                            "frames": now.frames, "fps": now.fps, "dropped": now.dropped, "key_share": now.key_share
                        }  # fmt: skip

                done = predict_video(
                    stream, source, consume,
                    with_flow=self.options.flow_pictures, with_confidence=self.options.confidence,
                    max_frames=self.max_frames, max_seconds=self.max_seconds, stop=stop, progress=report,
                    late=source.info.seconds is not None,
                )  # fmt: skip
            prediction = VideoPrediction(done, list(source.decode_errors), received[0] if received else None)
            if done.frames:
                outputs.write_report(prediction)
                outputs.finish()
        if done.most_held:
            log.info("at most %d frames waited, %.1f MB as decoded", done.most_held, done.most_held_bytes / 1e6)
        return prediction
