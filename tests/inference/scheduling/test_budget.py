"""Laws of the budget scheduler: no run of frames costs more than the bound, and latencies are followed."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from src.inference.scheduling.budget import Budget, BudgetState
from src.inference.scheduling.step_costs import StepCosts
from src.structures import KeyFrameState
from tests.inference.schedules import PREDICTION, Schedule, cut_clip, drift, run

COSTS = StepCosts(key=10.0, nonkey=1.0)


def paid(schedule: Schedule, costs: StepCosts = COSTS) -> list[float]:
    """Cost of each frame of a schedule."""
    return [costs.nonkey if reason is None else costs.key for reason in schedule.reasons]


def restless(count: int, seed: int) -> list[Tensor]:
    """Shots of random lengths, many of a single frame, some without motion."""
    rng, images = random.Random(seed), list[Tensor]()
    while len(images) < count:
        length = rng.choice((1, 1, 2, 3, 8, 20))
        shot = drift(length, rng.randrange(100))
        images += [shot[0]] * length if rng.random() < 0.3 else shot
    return images[:count]


@pytest.mark.parametrize("per_frame", [1.4, 2.8, 5.5, 9.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_run_of_frames_costs_more_than_the_bound(per_frame: float, seed: int) -> None:
    budget = Budget(gflops=per_frame).with_costs(COSTS)
    schedule = run(budget, restless(200, seed))
    total = torch.tensor([0.0, *paid(schedule)]).double().cumsum(0)
    key_excess = COSTS.key - per_frame
    for first in range(200):
        spent = total[first + 1 :] - total[first]
        allowed = per_frame * torch.arange(1, len(spent) + 1) + 2 * key_excess + (budget.max_credit if first else 0)
        assert (spent <= allowed + 1e-4).all()
    # The credit stays within its bounds, and the budget is used.
    assert min(schedule.credits) >= -2 * key_excess - 1e-6 and max(schedule.credits) <= budget.max_credit + 1e-6
    assert total[-1] >= 0.85 * per_frame * 200


@pytest.mark.parametrize("interval", [2, 3, 5, 8])
def test_in_even_motion_the_interval_is_the_one_that_the_budget_pays_for(interval: int) -> None:
    budget = Budget(gflops=(10 + (interval - 1) * 1.0) / interval).with_costs(COSTS)
    assert budget.key_interval == pytest.approx(interval)
    assert run(replace(budget, weight=0.0), drift(5 * interval + 1)).keys == list(range(0, 5 * interval + 1, interval))


def test_a_budget_between_two_intervals_alternates_between_them() -> None:
    budget = Budget(gflops=1 + 9 / 4.5, weight=0.0).with_costs(COSTS)
    keys = run(budget, drift(91)).keys
    gaps = [b - a for a, b in pairwise(keys)]
    assert set(gaps) == {4, 5} and sum(gaps) / len(gaps) == pytest.approx(4.5, abs=0.15)


def test_a_cut_is_paid_on_credit_and_delays_the_next_key_frames() -> None:
    budget = Budget(gflops=2.8, weight=0.0).with_costs(COSTS)
    schedule = run(budget, cut_clip((12, 30)))
    assert [schedule.reasons[key] for key in (0, 5, 10, 12)] == ["first", "change", "change", "cut"]
    assert schedule.keys[4] - 12 > 5
    # A cut in every frame exceeds the budget: cuts wait until the credit has recovered.
    many = run(budget, cut_clip((1,) * 40))
    assert set(many.reasons) == {"first", "cut", None} and 4 < len(many.keys) < 12


@pytest.mark.parametrize("percent", [25, 40, 100])
def test_a_budget_in_percent_is_that_share_of_a_key_frame(percent: float) -> None:
    shares, gflops = (one.with_costs(COSTS) for one in (Budget(percent=percent), Budget(gflops=percent / 100 * COSTS.key)))
    assert (shares.per_frame, shares.unit) == (gflops.per_frame, "gflops")
    assert run(shares, restless(60, 3)).reasons == run(gflops, restless(60, 3)).reasons


@pytest.mark.parametrize("values", [{}, {"gflops": 1, "percent": 40}, {"ms": 3, "percent": 40}, {"percent": 0}, {"percent": 101}])
def test_a_budget_has_one_positive_amount(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"percent is .*; expected"):
        Budget(**values)


def test_a_stretch_with_more_motion_gets_more_key_frames() -> None:
    even = drift(72)
    images = [*even[:36], *even[36::2]]
    keys = run(Budget(gflops=2.8, weight=1.0).with_costs(COSTS), images).keys
    slow = [b - a for a, b in pairwise(keys) if 10 <= a < b <= 35]
    fast = [b - a for a, b in pairwise(keys) if a >= 35]
    assert sum(fast) / len(fast) < sum(slow) / len(slow)


def test_a_budget_of_a_key_frame_segments_every_frame() -> None:
    assert run(Budget(ms=10.0).with_costs(COSTS), drift(6)).keys == list(range(6))


def test_streams_do_not_influence_each_other() -> None:
    budget = Budget(gflops=2.8).with_costs(COSTS)
    first, second = restless(30, 5), restless(30, 6)
    alone = run(budget, first)
    states: list[KeyFrameState | None] = [None, None]
    together: list[object] = []
    for pair in zip(first, second, strict=True):
        for number, image in enumerate(pair):
            old = states[number]
            decision = budget.decide(image[None], old)
            age = 0 if decision.reason is not None or old is None else old.age + 1
            states[number] = KeyFrameState(image[None], PREDICTION, 0, age, decision.reason, decision.schedule)
            if number == 0:
                together.append(decision.reason)
    assert together == alone.reasons


MS = Budget(ms=14.0, weight=0.0).with_costs(StepCosts(key=30.0, nonkey=10.0))
"""Budget of a key frame every five frames."""


def gaps_after(schedule: Schedule, frame: int) -> set[int]:
    """Intervals between key frames from a frame on."""
    return {b - a for a, b in pairwise(schedule.keys) if a >= frame}


def usual(frame: int, is_key: bool) -> float:
    return 30.0 if is_key else 10.0


def test_a_slow_first_frame_is_outvoted() -> None:
    # Estimated during warm-up: the budget would pay for one key frame in 47 frames.
    guess = Budget(ms=14.0, weight=0.0).with_costs(StepCosts(key=60.0, nonkey=13.0))
    assert guess.key_interval == 47
    schedule = run(guess, drift(81), takes=usual)
    assert run(MS, drift(81), takes=usual).keys == list(range(0, 81, 5))
    assert schedule.keys[:2] == [0, 6] and gaps_after(schedule, 6) == {5}


@pytest.mark.parametrize("guess", [StepCosts(60.0, 13.0), StepCosts(25.0, 2.0), StepCosts(13.0, 1.0)])
def test_milliseconds_are_held_by_measured_latencies_not_by_the_first_estimate(guess: StepCosts) -> None:
    schedule = run(Budget(ms=14.0).with_costs(guess), restless(200, 3), takes=usual)
    spent = [usual(number, reason is not None) for number, reason in enumerate(schedule.reasons)]
    # Two key excesses on credit, and the first frames before their latency was known.
    assert 0.85 * 14 * 200 <= sum(spent) <= 14 * 200 + 2 * (30 - 14) + 2 * 30


def test_a_machine_that_slows_down_gets_fewer_key_frames_and_recovers() -> None:
    def takes(frame: int, is_key: bool) -> float:
        return (42.0 if is_key else 12.0) if 60 <= frame < 260 else usual(frame, is_key)

    schedule = run(MS, drift(400), takes=takes)
    assert gaps_after(replace(schedule, reasons=schedule.reasons[:60]), 10) == {5}
    assert gaps_after(replace(schedule, reasons=schedule.reasons[:260]), 150) == {15}
    assert gaps_after(schedule, 350) == {5}


def test_a_stalled_frame_changes_nothing() -> None:
    schedule = run(MS, drift(100), takes=lambda frame, is_key: 2000.0 if frame in (23, 50) else usual(frame, is_key))
    assert schedule.keys == list(range(0, 100, 5))


def test_a_machine_too_slow_or_too_fast_for_the_budget_is_no_error() -> None:
    images = drift(250)
    # Propagation takes more than the budget: key frames become rare, but do not stop.
    keys = run(MS, images, takes=lambda frame, is_key: 90.0 if is_key else 20.0).keys
    assert len(keys) <= 4 and max(b - a for a, b in pairwise(keys)) <= 200
    assert gaps_after(run(MS, images[:40], takes=lambda frame, is_key: 6.0 if is_key else 3.0), 5) == {1}
    # If propagation takes longer than segmentation, every frame is segmented.
    assert gaps_after(run(MS, images[:40], takes=lambda frame, is_key: 20.0 if is_key else 25.0), 15) == {1}


def test_a_budget_in_gflops_ignores_latencies() -> None:
    images = restless(60, 2)
    budget = Budget(gflops=2.8).with_costs(COSTS)
    assert run(budget, images, takes=lambda frame, is_key: 1e6).reasons == run(budget, images).reasons


def test_bad_budgets_are_refused() -> None:
    for values in ({}, {"gflops": 1.0, "ms": 1.0}, {"ms": 0.0}, {"gflops": 1.0, "interval_shift": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            Budget(**values)
    with pytest.raises(ValueError, match="1 gflops a frame; expected more than the 1 of a propagated frame"):
        Budget(gflops=1.0).with_costs(COSTS)
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match="with_costs"):
        Budget(gflops=2.0).decide(image, None)
    with pytest.raises(ValueError, match="another scheduler"):
        Budget(gflops=2.0).with_costs(COSTS).decide(image, KeyFrameState(image, PREDICTION, 3, 1, None, "something"))
    assert isinstance(Budget(gflops=2.0).with_costs(COSTS).decide(image, None).schedule, BudgetState)
