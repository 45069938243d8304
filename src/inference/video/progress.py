"""Progress of a prediction on the console or in the log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from src.inference.video.prediction import PredictionProgress
from src.inference.video.sources import FrameSource

log = logging.getLogger(__name__)

_LOG_INTERVAL = 5.0  # seconds between log lines if there is no terminal


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
