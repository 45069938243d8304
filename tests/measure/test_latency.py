"""Laws of timing."""

import time

import pytest
import torch

from src.measure.latency import describe_machine, time_in_turn


def test_a_known_wait_is_measured() -> None:
    timing = time_in_turn({"call": lambda: time.sleep(0.01)}, warmup=1, repeats=5)["call"]
    assert 10 <= timing.p10 <= timing.median_ms <= timing.p90 <= timing.worst_ms
    assert timing.median_ms < 200


def test_warm_up_is_not_timed() -> None:
    calls: list[float] = []

    def slow_at_first() -> None:
        time.sleep(0.3 if len(calls) < 2 else 0.0)
        calls.append(time.perf_counter())

    assert time_in_turn({"call": slow_at_first}, warmup=2, repeats=3)["call"].p90 < 250
    assert len(calls) == 5


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
