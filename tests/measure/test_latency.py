"""Laws of timing."""

import pytest
import torch

from src.measure.latency import describe_machine, time_in_turn
from src.ops import device


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that advances only when a test adds to it, seconds."""
    seconds = [0.0]
    monkeypatch.setattr(device.time, "perf_counter", lambda: seconds[0])
    return seconds


def test_percentiles_are_those_of_the_timed_calls(clock: list[float]) -> None:
    durations = iter([9.0, 9.0, *range(1, 12)])

    def call() -> None:
        clock[0] += next(durations) / 1e3

    timing = time_in_turn({"call": call}, warmup=2, repeats=11)["call"]
    # The two calls of 9 ms are the warm-up; those that count take 1, 2, ... 11 ms.
    assert timing.median_ms == pytest.approx(6) and timing.worst_ms == pytest.approx(11)
    assert (timing.p10, timing.p90) == (pytest.approx(2), pytest.approx(10))


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert str(machine["device"]).startswith("cpu: ")
    assert len(str(machine["device"])) > len("cpu: ")
    assert machine["threads"] == torch.get_num_threads()


def test_several_functions_take_turns() -> None:
    calls: list[str] = []
    timings = time_in_turn({name: lambda name=name: calls.append(name) for name in "ab"}, warmup=1, repeats=2)
    assert "".join(calls) == "ababab" and list(timings) == ["a", "b"]


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(ValueError, match="0 functions"):
        time_in_turn({})
    with pytest.raises(ValueError, match="repeats 0"):
        time_in_turn({"call": lambda: None}, repeats=0)
