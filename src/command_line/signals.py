"""Signals of all entry points that can stop early."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping_on_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Let Ctrl-C and SIGTERM set an event instead of ending the process; the second signal raises ``KeyboardInterrupt``.

    Yields:
        The event and the list of signals received so far.
    """
    stop, received = threading.Event(), list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    wanted = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield stop, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
