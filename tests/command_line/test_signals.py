import os
import pty
import signal
import time

import pytest

from src.command_line.signals import interrupting_on_signals, stopping_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_sets_the_event_and_the_second_raises(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stopping_on_signals() as (stop, received):
        signal.raise_signal(number)
        assert stop.is_set() and received == [number]
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_warnings_of_a_scheduler_or_a_closed_terminal_stop_like_sigterm(number: signal.Signals) -> None:
    with stopping_on_signals() as (stop, received):
        # Terminals send it twice, and a scheduler terminates afterwards.
        for sent in (number, number, signal.SIGTERM):
            signal.raise_signal(sent)
        assert stop.is_set() and received == [number, number, signal.SIGTERM]


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals() as (stop, _):
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_printed_after_the_terminal_is_gone_is_dropped() -> None:
    child, terminal = pty.fork()
    if not child:
        with stopping_on_signals() as (stop, _):
            os.write(1, b"ready")
            for _ in range(600):
                if stop.is_set():
                    break
                time.sleep(0.1)
            try:
                os.write(1, b"to nobody")
            except OSError:
                os._exit(1)
            os._exit(0 if stop.is_set() else 2)
    assert os.read(terminal, 5) == b"ready"
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


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
