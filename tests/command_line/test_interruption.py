import os
import signal
from collections.abc import Iterator

import pytest

from src.command_line.interruption import interrupting_on_signals


@pytest.fixture(autouse=True)
def _as_in_the_foreground() -> Iterator[None]:
    """Shells start jobs in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_every_stopping_signal_interrupts_and_is_recorded(number: int) -> None:
    before = signal.getsignal(number)
    with interrupting_on_signals() as received:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert received == [number]
    assert signal.getsignal(number) == before


def test_what_follows_the_first_signal_is_ignored_but_a_second_ctrl_c_is_not() -> None:
    with interrupting_on_signals() as received:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert len(received) == 4


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupting_on_signals() as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)
