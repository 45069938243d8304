"""A loaded model that labels one source after another, into files."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.streaming import StreamingSegmentor
from src.inference.video.outputs import OutputOptions, VideoOutputs
from src.inference.video.prediction import PredictionProgress, predict_video
from src.inference.video.progress import shown_progress
from src.inference.video.sources import FrameSource
from src.visualization.palette import Palette

log = logging.getLogger(__name__)

Stopping = tuple[threading.Event, list[int]]
"""An event that a signal sets, and the signals received so far."""


@dataclass(frozen=True)
class Prediction:
    """How a prediction ended.

    Attributes:
        progress: frames, key frames and times.
        faults: what was broken in the input; empty if it was sound.
        stopped: signal that ended it early, or ``None``.
        written: files, and folders of files.
    """

    progress: PredictionProgress
    faults: list[str]
    stopped: int | None
    written: list[Path]

    @property
    def frames(self) -> int:
        """How many were labelled."""
        return self.progress.frames

    @property
    def exit_code(self) -> int:
        """0, 1 for a broken input, or 128 + signal."""
        return 128 + self.stopped if self.stopped is not None else int(bool(self.faults))


@dataclass(frozen=True)
class Labeller:
    """A loaded model and how it is to be run.

    Attributes:
        stream: the segmentor.
        classes: K names.
        palette: K colors.
        options: what is written.
        max_frames: the first so many of each source.
        schedule_for: makes the scheduler of a source, where it depends on what the source's frames cost; ``None``: the stream's.
    """

    stream: StreamingSegmentor
    classes: Sequence[str]
    palette: Palette
    options: OutputOptions
    max_frames: int | None
    schedule_for: Callable[[FrameSource], KeyFrameScheduler] | None = None

    def label(self, source: FrameSource, output: Path, console: Console, stopping: Stopping, partial: bool) -> Prediction:
        """Label one source into one folder.

        Args:
            source: of the frames.
            output: where to.
            console: where progress is shown.
            stopping: event and signals of :func:`stopping_on_signals`.
            partial: whether what was labelled until a signal came is written.
        """
        stop, received = stopping
        if source.info.has_audio:
            log.info("%s has sound, which is dropped: the overlay has pictures alone", source.info.name)
        stream = self.stream if self.schedule_for is None else self.stream.with_scheduler(self.schedule_for(source))
        written: list[Path] = []
        with VideoOutputs(output, source.info, self.classes, self.palette, self.options) as outputs:
            with shown_progress(console, source) as progress:
                done = predict_video(
                    stream, source, outputs.write,
                    with_flow=self.options.flow_pictures, max_frames=self.max_frames, stop=stop, progress=progress,
                )  # fmt: skip
            if done.frames and (partial or not received):
                written = outputs.finish()
        return Prediction(done, list(source.faults), received[0] if received else None, written)
