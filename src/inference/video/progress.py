"""How far a prediction is, on the console."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from src.inference.video.prediction import PredictionProgress
from src.inference.video.sources import FrameSource

log = logging.getLogger(__name__)

_LOG_EVERY = 30.0  # seconds between lines where there is no terminal to draw a bar on


@contextmanager
def shown_progress(console: Console, source: FrameSource) -> Iterator[Callable[[PredictionProgress], None]]:
    """A bar with frames per second, share of key frames and time left; a line now and then where there is no terminal.

    Headers know the length of a video better than its number of frames, so the bar counts seconds.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}"),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        # Square brackets in a file name would be read as markup.
        title = Path(source.info.name).name.replace("[", r"\[")
        task = bar.add_task(title, total=source.info.seconds, state="")
        said = time.monotonic()

        def show(done: PredictionProgress) -> None:
            nonlocal said
            bar.update(task, completed=done.position, state=in_words(done))
            if not console.is_terminal and time.monotonic() - said > _LOG_EVERY:
                said = time.monotonic()
                length = "" if source.info.seconds is None else f" of {source.info.seconds:.1f}"
                log.info("%s: %.1f%s s, %s", Path(source.info.name).name, done.position, length, in_words(done))

        yield show


def in_words(done: PredictionProgress) -> str:
    """Frames, their rate and the share of key frames."""
    return f"{done.frames} frames, {done.fps:.1f} fps, {done.key_share:.0%} key frames"
