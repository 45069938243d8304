"""Signals of entry points whose results are complete one by one: the work stops, and the caller keeps the complete ones."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))


@contextmanager
def interrupting_on_signals() -> Iterator[list[int]]:
    """Let SIGTERM, SIGHUP and SIGUSR1 raise ``KeyboardInterrupt``, as Ctrl-C does.

    Further signals are ignored, so that finished results can be written, except for a second Ctrl-C. torchrun passes Ctrl-C on as
    SIGTERM. An ignored SIGHUP, as under nohup, stays ignored.

    Yields:
        The signals received so far.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1 or (number == signal.SIGINT and received.count(number) > 1):
            raise KeyboardInterrupt

    wanted = _NUMBERS if threading.current_thread() is threading.main_thread() else ()
    before = {n: signal.signal(n, interrupt) for n in wanted if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
