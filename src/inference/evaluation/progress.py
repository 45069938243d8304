"""Progress of evaluations: callbacks, a frame counter and progress bars."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

ItemT = TypeVar("ItemT")

ProgressCallback = Callable[[int, int], None]
"""Called with (items done, items in total) after every item."""


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


def progress_bars(console: Console | None = None) -> AbstractContextManager[Progress]:
    """Build progress bars with count and remaining time, which disappear when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def advance(progress: Progress, task: TaskID) -> ProgressCallback:
    """Return the callback that advances one bar."""
    return lambda done, total: progress.update(task, completed=done, total=total)
