"""Map of a function over many files, in several processes."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_FILES_PER_MESSAGE = 16


def map_files(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Apply a function of a module, or a partial of one, to every item, with results in order.

    Arguments and results are pickled; 0 workers: this process. After an exception of the function, remaining items are cancelled.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}; expected 0 or more")
    if workers == 0:
        yield from map(function, items)
        return
    # A fork of a process with threads (torch, a progress bar) may hang. Ctrl-C reaches every process of a terminal: workers
    # ignore it, finish their items, and are ended by the parent process.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield from executor.map(function, items, chunksize=_FILES_PER_MESSAGE)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
