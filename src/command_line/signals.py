"""Signals of all entry points that can stop early."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from src.files.terminals import drop_output, output_terminals

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_HANG_UP = getattr(signal, "SIGHUP", None)
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
    terminals = output_terminals()

    def note(number: int, frame: FrameType | None) -> None:
        again = number in _STOPPING and any(earlier in _STOPPING for earlier in received)
        received.append(number)
        if again:
            raise KeyboardInterrupt
        # A second call within the first one's wait would wait for its own lock.
        if not stop.is_set():
            stop.set()
        if number == _HANG_UP:
            drop_output(terminals)

    with _handling(note):
        yield stop, received


@contextmanager
def interrupting_on_signals() -> Iterator[list[int]]:
    """Let SIGTERM, SIGHUP and SIGUSR1 raise ``KeyboardInterrupt``, as Ctrl-C does, in work whose results are finished one by one.

    Further signals are ignored, so that finished results can be written, except for a second Ctrl-C. torchrun passes Ctrl-C on as
    SIGTERM. Ignored signals and closed terminals are those of :func:`stopping_on_signals`.

    Yields:
        The signals received so far.
    """
    received: list[int] = []
    terminals = output_terminals()

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == _HANG_UP:
            drop_output(terminals)
        if len(received) == 1 or (number == signal.SIGINT and received.count(number) > 1):
            raise KeyboardInterrupt

    with _handling(interrupt):
        yield received


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    wanted = [*_STOPPING, *(number for number in _WARNING if signal.getsignal(number) != signal.SIG_IGN)]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
