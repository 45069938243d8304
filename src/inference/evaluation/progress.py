"""Progress of evaluations: callbacks, a frame counter and progress bars."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

ProgressCallback = Callable[[int, int], None]
"""Called with (items done, items in total) after every item."""


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


def progress_bars(console: Console | None = None) -> AbstractContextManager[Progress]:
    """Build progress bars with count and remaining time, which disappear when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def advance(progress: Progress, task: TaskID) -> ProgressCallback:
    """Return the callback that advances one bar."""
    return lambda done, total: progress.update(task, completed=done, total=total)
