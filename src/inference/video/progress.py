"""Progress of a prediction on the console or in the log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from src.inference.video.prediction import PredictionProgress
from src.inference.video.sources import FrameSource

log = logging.getLogger(__name__)

_LOG_INTERVAL = 5.0  # seconds between log lines if there is no terminal


@contextmanager
def progress_bar(console: Console, source: FrameSource) -> Iterator[Callable[[PredictionProgress], None]]:
    """Show a progress bar, or log a line every 5 s if there is no terminal.

    The bar counts seconds, because headers declare the duration of a video more reliably than its number of frames. The yielded
    function shows the given progress.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}"),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    name = Path(source.info.name).name
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(name), total=source.info.seconds, state="")
        logged = time.monotonic()

        def show(done: PredictionProgress) -> None:
            nonlocal logged
            bar.update(task, completed=done.position, state=str(done))
            if not console.is_terminal and time.monotonic() - logged > _LOG_INTERVAL:
                logged = time.monotonic()
                length = "" if source.info.seconds is None else f" of {source.info.seconds:.1f}"
                log.info("%s: %.1f%s s, %s", name, done.position, length, done)

        yield show
