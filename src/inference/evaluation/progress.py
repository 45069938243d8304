"""Progress of evaluations: callbacks, a frame counter, and progress bars or lines."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")

ProgressCallback = Callable[[int, int], None]
"""Called with (items done, items in total) after every item."""

_LINE_INTERVAL = 5.0  # seconds


def counted(items: Sequence[ItemT], progress: ProgressCallback | None) -> Iterator[ItemT]:
    """Yield the items, and report each to the callback when the next one is requested."""
    for done, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            progress(done, len(items))


class FrameCounter:
    """Counter that reports every counted frame to a progress callback."""

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self.total = total
        self.progress = progress
        self.done = 0

    def advance(self) -> None:
        """Count one frame."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


class ProgressBars(Progress):
    """Bars with count and remaining time, which disappear when done; without a terminal, a line every 5 s.

    Args:
        console: console of the bars or lines; ``None``: that of rich. Lines name the field ``unit`` of a task, else frames.
    """

    def __init__(self, console: Console | None = None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, console=console, transient=True)
        self.disable = not (self.console.is_terminal or self.console.is_jupyter)
        self._printed = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task, see :meth:`rich.progress.Progress.update`."""
        super().update(task_id, **changes)
        self._print(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count items of a task."""
        super().advance(task_id, advance)
        self._print(task_id)

    def _print(self, task_id: TaskID) -> None:
        task, now = self._tasks[task_id], time.monotonic()
        if not self.disable or self.console.quiet or now - self._printed < _LINE_INTERVAL:
            return
        self._printed = now
        unit = task.fields.get("unit", "frames")
        line = f"{task.description}: {task.completed:.0f}{'' if task.total is None else f' of {task.total:.0f}'} {unit}"
        # Over the last 30 s; unknown after the first item, which includes the start of workers and networks.
        if task.speed:
            line += f", {task.speed:.3g} {unit}/s"
        if task.time_remaining is not None:
            line += f", {timedelta(seconds=task.time_remaining)} left"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def advance(progress: Progress, task: TaskID) -> ProgressCallback:
    """Return the callback that advances one bar."""
    return lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def heartbeat(text: str) -> Iterator[None]:
    """Log ``text`` and the elapsed seconds every 5 s, unless there is a terminal, during work that reports no progress."""
    done, start = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(_LINE_INTERVAL):
            log.info("%s: %.0f s so far", text, time.monotonic() - start)

    thread = threading.Thread(target=beat, daemon=True)
    if not sys.stdout.isatty():
        log.info("%s", text)
        thread.start()
    try:
        yield
    finally:
        done.set()
