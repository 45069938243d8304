"""Progress bars on the console."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from src.inference.evaluation.clips import ProgressCallback


def progress_bars(console: Console | None = None) -> AbstractContextManager[Progress]:
    """Build progress bars with count and remaining time, which disappear when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def advance(progress: Progress, task: TaskID) -> ProgressCallback:
    """Return the callback that advances one bar."""
    return lambda done, total: progress.update(task, completed=done, total=total)
