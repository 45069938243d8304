"""Three threads in a row: items are made, worked on and consumed at the same time, in order, a few at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Generic, Self, TypeVar

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")
_POLL = 0.1  # seconds; how long a wait may go on without looking whether all is over
_PATIENCE = 5.0  # seconds for a source that is stuck in a read (a dead camera); its thread is then left behind


class _End:
    """Ends a queue; with the error that ended it, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def run_pipeline(
    items: Iterable[A],
    work: Callable[[A], B],
    consume: Callable[[B], None],
    depth: int = 4,
    stop: threading.Event | None = None,
) -> None:
    """``consume(work(item))`` for every item, in order: items are made in one thread, consumed in another, worked on in this one.

    At most ``2 * depth + 3`` items exist at a time. An error of the source or of ``work`` is raised when all that came before it
    is consumed; an error of ``consume`` at once.

    Args:
        items: iterated in its own thread, where it is also closed.
        work: called in the calling thread, which is the one that signals reach.
        consume: called in its own thread.
        depth: length of each of the two queues.
        stop: once set, no further item is worked on; what was worked on is consumed, then this returns.
    """
    with _Consumer(consume, depth) as consumer, _Producer(items, depth) as producer:
        for item in producer.until(stop or threading.Event()):
            consumer.put(work(item))


class _Producer(Generic[A]):
    """Iterates in a thread of its own."""

    def __init__(self, items: Iterable[A], depth: int) -> None:
        self._items = items
        self._queue: Queue[A | _End] = Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            log.warning("the source does not answer; it is left alone")

    def until(self, stop: threading.Event) -> Iterator[A]:
        while not stop.is_set():
            try:
                item = self._queue.get(timeout=_POLL)
            except Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _run(self) -> None:
        error: BaseException | None = None
        iterator = iter(self._items)
        try:
            for item in iterator:
                if not self._put(item):
                    break
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
                self._queue.put(item, timeout=_POLL)
                return True
            except Full:
                continue
        return False


class _Consumer(Generic[B]):
    """Calls a function in a thread of its own."""

    def __init__(self, consume: Callable[[B], None], depth: int) -> None:
        self._consume = consume
        self._queue: Queue[B | _End] = Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(_End(), timeout=_POLL)
                break
            except Full:
                continue
        self._thread.join()
        if self._error is not None and self._error is not error:
            raise self._error

    def put(self, item: B) -> None:
        while True:
            if self._error is not None:
                raise self._error
            try:
                self._queue.put(item, timeout=_POLL)
                return
            except Full:
                continue

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                return
            try:
                self._consume(item)
            except BaseException as error:
                self._error = error
                return
