"""Pipeline of three threads that produce, process and consume items in order, a few at a time."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Generic, Self, TypeVar

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")
_POLL_SECONDS = 0.1  # longest wait before the stop signal is checked
_JOIN_SECONDS = 5.0  # longest wait for a source that blocks in a read (a dead camera); its thread is then abandoned


class _Budget:
    """Bytes of the items between the source and ``work``; a single item of any size is let in."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._changed = threading.Condition()

    def take(self, size: int) -> bool:
        """Wait at most ``_POLL_SECONDS`` for room; return whether there was."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._held or self._held + size <= self._limit, _POLL_SECONDS):
                return False
            self._held += size
            return True

    def give_back(self, size: int) -> None:
        with self._changed:
            self._held -= size
            self._changed.notify()


class _End:
    """End of a queue, with the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def run_pipeline(
    items: Iterable[A],
    work: Callable[[Iterator[A]], Iterator[B]],
    consume: Callable[[B], None],
    depth: int = 4,
    stop: threading.Event | None = None,
    size: Callable[[A], int] = lambda item: 0,
    result_size: Callable[[B], int] = lambda result: 0,
    max_bytes: int = 2**27,
) -> None:
    """Run ``consume`` for every result of ``work(items)``, in order, in three threads with two queues of length ``depth``.

    ``work`` may hold items back and yield any number of results for each. Items that it holds count for no limit; at most
    ``depth + 1`` further items and ``depth + 2`` results exist at a time, and fewer if they are large: of each as many as fit in
    ``max_bytes``, at least one, where the next item is taken for as large as the last.

    The items given to ``work`` end after an error of ``items``, so that what it holds back still becomes results; the error is
    raised after all of them are consumed. An error of ``work`` is raised after all earlier results are consumed; an error of
    ``consume`` at once.

    Args:
        items: iterated and closed in its own thread.
        work: iterated and closed in the calling thread, which receives signals.
        consume: called in its own thread.
        depth: length of each queue.
        stop: once set, ``work`` receives no further item; its results are consumed, then this returns.
        size: bytes of an item.
        result_size: bytes of a result.
        max_bytes: of the items that wait for ``work``, and of the results that are not yet consumed.
    """
    pending: deque[tuple[Future[None], int]] = deque()
    held = 0
    # The executor's exit waits until all results are consumed.
    with (
        ThreadPoolExecutor(1, "consumer") as consumer,
        Producer(items, depth, size, max_bytes) as producer,
        _closed_at_exit(work(producer.until(stop or threading.Event()))) as results,
    ):
        for result in results:
            bytes_held = result_size(result)
            while pending and (pending[0][0].done() or len(pending) > depth or held + bytes_held > max_bytes):
                future, freed = pending.popleft()
                held -= freed
                _check(future, consumer)
            # The queues hold the only references, so that memory is free once a result is consumed.
            pending.append((consumer.submit(consume, result), bytes_held))
            held += bytes_held
            del result
    for future, _ in pending:
        future.result()


def _check(future: Future[None], consumer: ThreadPoolExecutor) -> None:
    try:
        future.result()
    except BaseException:
        consumer.shutdown(wait=False, cancel_futures=True)
        raise


@contextmanager
def _closed_at_exit(iterator: Iterator[A]) -> Iterator[Iterator[A]]:
    """Close an iterator that can be closed in this thread, and not by the garbage collector, which may run in any."""
    try:
        yield iterator
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


class Producer(Generic[A]):
    """Iteration in a daemon thread, which a blocked source cannot keep the process from ending.

    Use it as a context manager; an error of the items is raised at its end. Arguments are those of :func:`run_pipeline`.
    """

    def __init__(
        self, items: Iterable[A], depth: int = 4, size: Callable[[A], int] = lambda item: 0, max_bytes: int = 2**27
    ) -> None:
        self._items, self._size, self._budget = items, size, _Budget(max_bytes)
        self._queue: Queue[A | _End] = Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            log.warning("the source does not respond; its thread is abandoned")
        # An error of the work on the items before it came later.
        if self._error is not None and (kind is None or issubclass(kind, Exception)):
            raise self._error

    def until(self, stop: threading.Event) -> Iterator[A]:
        """Yield items until the source ends, by an error or not, or ``stop`` is set; :meth:`__exit__` raises the error."""
        while not stop.is_set():
            try:
                item = self._queue.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if isinstance(item, _End):
                self._error = item.error
                return
            self._budget.give_back(self._size(item))
            yield item
            del item

    def _run(self) -> None:
        error: BaseException | None = None
        reserved = 0
        try:
            # A file is closed by the thread that reads it.
            with _closed_at_exit(iter(self._items)) as iterator:
                while True:
                    # Before the item is made, as many bytes as the last one had.
                    while not self._budget.take(reserved):
                        if self._closed.is_set():
                            return
                    item = next(iterator, _End())
                    if isinstance(item, _End):
                        break
                    size = self._size(item)
                    self._budget.give_back(reserved - size)
                    reserved = size
                    if not self._put(item):
                        break
                    del item
        except BaseException as raised:
            error = raised
        self._put(_End(error))

    def _put(self, item: A | _End) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except Full:
                continue
        return False
