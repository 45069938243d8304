"""Pipeline of three threads that produce, process and consume items in order, a few at a time."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Generic, Self, TypeVar

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")
_POLL_SECONDS = 0.1  # longest wait before the stop signal is checked
_JOIN_SECONDS = 5.0  # longest wait for a source that blocks in a read (a dead camera); its thread is then abandoned


class _Budget:
    """Bytes of the items between the source and the end of ``consume``; a single item of any size is let in."""

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
    work: Callable[[A], B],
    consume: Callable[[B], None],
    depth: int = 4,
    stop: threading.Event | None = None,
    size: Callable[[A], int] = lambda item: 0,
    max_bytes: int = 2**28,
) -> None:
    """Run ``consume(work(item))`` for every item, in order, in three threads with two queues of length ``depth``.

    At most ``2 * depth + 3`` items exist at a time, and fewer if they are large: as many as fit in ``max_bytes``, at least one,
    where the next item is taken for as large as the last. An error of ``items`` or ``work`` is raised after all earlier results
    are consumed; an error of ``consume`` at once.

    Args:
        items: iterated and closed in its own thread.
        work: called in the calling thread, which receives signals.
        consume: called in its own thread.
        depth: length of each queue.
        stop: once set, no further item is processed; results so far are consumed, then this returns.
        size: bytes of an item.
        max_bytes: of the items that are not yet consumed.
    """
    budget = _Budget(max_bytes)

    def finish(result: B, bytes_held: int) -> None:
        try:
            consume(result)
        finally:
            budget.give_back(bytes_held)

    pending: deque[Future[None]] = deque()
    # The executor's exit waits until all results are consumed.
    with ThreadPoolExecutor(1, "consumer") as consumer, _Producer(items, depth, size, budget) as producer:
        for item in producer.until(stop or threading.Event()):
            # The queues hold the only references, so that memory is free once an item is consumed.
            result, bytes_held = work(item), size(item)
            del item
            while pending and (pending[0].done() or len(pending) > depth):
                _check(pending.popleft(), consumer)
            pending.append(consumer.submit(finish, result, bytes_held))
            del result
    for future in pending:
        future.result()


def _check(future: Future[None], consumer: ThreadPoolExecutor) -> None:
    try:
        future.result()
    except BaseException:
        consumer.shutdown(wait=False, cancel_futures=True)
        raise


class _Producer(Generic[A]):
    """Iteration in a daemon thread, which a blocked source cannot keep the process from ending."""

    def __init__(self, items: Iterable[A], depth: int, size: Callable[[A], int], budget: _Budget) -> None:
        self._items, self._size, self._budget = items, size, budget
        self._queue: Queue[A | _End] = Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            log.warning("the source does not respond; its thread is abandoned")

    def until(self, stop: threading.Event) -> Iterator[A]:
        while not stop.is_set():
            try:
                item = self._queue.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item

    def _run(self) -> None:
        error: BaseException | None = None
        iterator, reserved = iter(self._items), 0
        try:
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
        finally:
            # A file is closed by the thread that reads it.
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
        self._put(_End(error))

    def _put(self, item: A | _End) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except Full:
                continue
        return False
