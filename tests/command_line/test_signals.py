import signal

import pytest

from src.command_line.signals import stopping_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_sets_the_event_and_the_second_raises(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stopping_on_signals() as (stop, received):
        signal.raise_signal(number)
        assert stop.is_set() and received == [number]
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
