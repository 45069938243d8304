"""Signals of all entry points that can stop early."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM)
# Of a closed terminal, and of schedulers before they kill; nohup ignores the first.
_WARNING = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name))


@contextmanager
def stopping_on_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Let Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 set an event instead of ending the process.

    A second Ctrl-C or SIGTERM raises ``KeyboardInterrupt``. A SIGHUP that is ignored, as under nohup, stays ignored; after one
    that is not, the terminal is gone, and what is printed to it is dropped.

    Yields:
        The event and the list of signals received so far.
    """
    stop, received = threading.Event(), list[int]()
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def note(number: int, frame: FrameType | None) -> None:
        again = number in _STOPPING and any(earlier in _STOPPING for earlier in received)
        received.append(number)
        if again:
            raise KeyboardInterrupt
        stop.set()
        if number == getattr(signal, "SIGHUP", None):
            # Writes to a terminal that has hung up fail, and would end the run before its results are written.
            for terminal in terminals:
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), terminal)

    wanted = [*_STOPPING, *(number for number in _WARNING if signal.getsignal(number) != signal.SIG_IGN)]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield stop, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
