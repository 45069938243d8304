"""Progress of a prediction on the console or in the log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from src.inference.video.sources import FrameSource

log = logging.getLogger(__name__)

_LOG_INTERVAL = 5.0  # seconds between log lines if there is no terminal


@dataclass(frozen=True)
class PredictionProgress:
    """Progress of a prediction.

    Attributes:
        frames: number of predicted frames.
        position: end of the last predicted frame, seconds of the video.
        elapsed: wall-clock seconds since the start.
        step_seconds: part of ``elapsed`` spent in the networks and their post-processing.
        held: number of frames that were read and are not predicted yet: offline, a frame waits for the next key frame.
        most_held: largest number so far; 0 online.
        most_held_bytes: their memory as decoded.
        dropped: frames of a live source that were dropped, because newer ones had arrived.
        reconnects: times that its connection came back.
    """

    frames: int = 0
    key_frames: int = 0
    position: float = 0.0
    elapsed: float = 0.0
    step_seconds: float = 0.0
    held: int = 0
    most_held: int = 0
    most_held_bytes: int = 0
    dropped: int = 0
    reconnects: int = 0

    def __str__(self) -> str:
        return self.text()

    def text(self, total: int | None = None) -> str:
        """Return the progress in words, of ``total`` frames where their number is known."""
        waiting = f" + {self.held} waiting" if self.held else ""
        of_total = "" if total is None else f" of {total}"
        lost = f", {self.dropped} dropped" if self.dropped else ""
        lost += f", {self.reconnects} reconnections" if self.reconnects else ""
        return f"{self.frames}{waiting}{of_total} frames, {self.fps:.1f} fps, {self.key_share:.0%} key frames{lost}"

    @property
    def fps(self) -> float:
        """Frames per wall-clock second."""
        return self.frames / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def milliseconds(self) -> float:
        """Mean time of the networks and their post-processing per frame, which a budget in milliseconds limits."""
        return 1e3 * self.step_seconds / self.frames if self.frames else 0.0

    @property
    def key_share(self) -> float:
        """Share of key frames, 0..1."""
        return self.key_frames / self.frames if self.frames else 0.0


@contextmanager
def progress_bar(
    console: Console, source: FrameSource, max_frames: int | None = None
) -> Iterator[Callable[[PredictionProgress], None]]:
    """Show a progress bar, or log a line every 5 s if there is no terminal.

    The bar counts seconds, because headers declare the duration of a video more reliably than its number of frames; frames
    where ``max_frames`` ends the prediction earlier. The yielded function shows the given progress.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}"),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    name = Path(source.info.name).name
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        seconds = source.info.seconds
        task = bar.add_task(escape(name), total=1.0 if seconds or max_frames else None, state="")
        logged = time.monotonic()

        def show(done: PredictionProgress) -> None:
            nonlocal logged
            of_seconds = min(1.0, done.position / seconds) if seconds else 0.0
            of_frames = done.frames / max_frames if max_frames else 0.0
            share, counts_frames = max(of_seconds, of_frames), of_frames > 0 and of_frames >= of_seconds
            state = done.text(max_frames if counts_frames else None)
            bar.update(task, completed=share, state=state)
            if not console.is_terminal and time.monotonic() - logged > _LOG_INTERVAL:
                logged = time.monotonic()
                length = "" if seconds is None else f" of {seconds:.1f}"
                position = "" if counts_frames else f"{done.position:.1f}{length} s, "
                left = f", {timedelta(seconds=round(done.elapsed * (1 / share - 1)))} left" if share else ""
                log.info("%s: %s%s%s", name, position, state, left)

        yield show
