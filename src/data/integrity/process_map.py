"""The same work on many files, over several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_FILES_PER_MESSAGE = 16


def map_files(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """``map`` over processes, in order.

    Args:
        function: of a module, or a partial of one; its arguments and results travel between processes.
        items: what to work on.
        workers: processes; 0 works in this one.

    Raises:
        ValueError: if ``workers`` is negative.
        Exception: what the function raises; the rest is not begun then.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}; expected 0 or more")
    if workers == 0:
        yield from map(function, items)
        return
    # A forked copy of a process that has threads (torch, a progress bar) may hang. Ctrl-C reaches every process of a terminal:
    # these finish what they have begun, and the one that has started them ends them.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield from executor.map(function, items, chunksize=_FILES_PER_MESSAGE)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
