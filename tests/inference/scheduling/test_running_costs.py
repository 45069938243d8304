"""Laws of running costs: single disturbances are outvoted, lasting changes are followed."""

from src.inference.scheduling.running_costs import RunningCosts
from src.inference.scheduling.step_costs import StepCosts

ESTIMATE = StepCosts(key=300.0, nonkey=100.0)


def timed(running: RunningCosts, is_key: bool, *milliseconds: float) -> RunningCosts:
    for one in milliseconds:
        running = running.with_frame(is_key, one)
    return running


def test_the_estimate_is_outvoted_by_two_frames() -> None:
    running = RunningCosts.starting_at(ESTIMATE)
    assert running.costs == ESTIMATE
    # The lower of two: warm-up is never too fast.
    assert timed(running, True, 30.0).costs == StepCosts(30.0, 100.0)
    assert timed(running, False, 400.0).costs.nonkey == 100.0
    assert timed(running, False, 400.0, 400.0).costs.nonkey == 400.0


def test_single_disturbances_change_nothing_and_lasting_ones_are_followed() -> None:
    steady = timed(RunningCosts.starting_at(StepCosts(30.0, 10.0)), False, *[10.0] * 20)
    assert timed(steady, False, *[900.0] * 4).costs.nonkey == 10.0
    assert timed(steady, False, *[20.0] * 5).costs.nonkey == 20.0
    # Constant memory.
    assert len(timed(steady, False, *[10.0] * 500).nonkey) == len(steady.nonkey)


def test_both_kinds_of_frames_are_separate() -> None:
    running = timed(timed(RunningCosts.starting_at(ESTIMATE), True, 30.0, 31.0), False, 9.0, 11.0)
    assert running.costs == StepCosts(key=31.0, nonkey=11.0)
