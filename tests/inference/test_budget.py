import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from src.inference.budget import Account, Budget
from src.inference.distrust import Distrust
from src.inference.step_costs import StepCosts
from src.structures import KeyFrameState
from tests.inference.schedules import PREDICTION, Schedule, cut_clip, drift, run

COSTS = StepCosts(key=10.0, nonkey=1.0, rejection=9.5)


def paid(schedule: Schedule, costs: StepCosts = COSTS) -> list[float]:
    """What each frame of a schedule cost."""
    price = {None: costs.nonkey, "distrust": costs.nonkey + costs.rejection}
    return [price.get(reason, costs.key) for reason in schedule.reasons]


def restless(count: int, seed: int) -> list[Tensor]:
    """Shots of random lengths, many of a single frame, some that stand still."""
    rng, images = random.Random(seed), list[Tensor]()
    while len(images) < count:
        length = rng.choice((1, 1, 2, 3, 8, 20))
        shot = drift(length, rng.randrange(100))
        images += [shot[0]] * length if rng.random() < 0.3 else shot
    return images[:count]


@pytest.mark.parametrize("allowance", [1.4, 2.8, 5.5, 9.0])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("distrust", [None, Distrust(warp_error=5.0)])
def test_no_run_of_frames_costs_more_than_the_law_allows(allowance: float, seed: int, distrust: Distrust | None) -> None:
    budget = Budget(gflops=allowance, distrust=distrust).with_costs(COSTS)
    schedule = run(budget, restless(200, seed))
    total = torch.tensor([0.0, *paid(schedule)]).double().cumsum(0)
    surcharge = COSTS.key - allowance
    for first in range(200):
        spent = total[first + 1 :] - total[first]
        allowed = allowance * torch.arange(1, len(spent) + 1) + 2 * surcharge + (budget.reserve if first else 0)
        assert (spent <= allowed + 1e-4).all()
    # The account itself says the same, and is never left unused for long.
    assert min(schedule.credits) >= -2 * surcharge - 1e-6 and max(schedule.credits) <= budget.reserve + 1e-6
    assert total[-1] >= 0.85 * allowance * 200


@pytest.mark.parametrize("interval", [2, 3, 5, 8])
def test_in_even_motion_it_is_the_interval_that_the_budget_pays_for(interval: int) -> None:
    budget = Budget(gflops=(10 + (interval - 1) * 1.0) / interval).with_costs(COSTS)
    assert budget.key_interval == pytest.approx(interval)
    assert run(replace(budget, weight=0.0), drift(5 * interval + 1)).keys == list(range(0, 5 * interval + 1, interval))


def test_between_two_intervals_it_switches_between_them() -> None:
    budget = Budget(gflops=1 + 9 / 4.5, weight=0.0).with_costs(COSTS)
    keys = run(budget, drift(91)).keys
    gaps = [b - a for a, b in pairwise(keys)]
    assert set(gaps) == {4, 5} and sum(gaps) / len(gaps) == pytest.approx(4.5, abs=0.15)


def test_a_cut_is_paid_on_credit_and_saved_for_afterwards() -> None:
    budget = Budget(gflops=2.8, weight=0.0).with_costs(COSTS)
    schedule = run(budget, cut_clip((12, 30)))
    assert [schedule.reasons[key] for key in (0, 5, 10, 12)] == ["first", "change", "change", "cut"]
    assert schedule.keys[4] - 12 > 5
    # Cut after cut cannot all be paid: those that wait are taken up as soon as there are means.
    many = run(budget, cut_clip((1,) * 40))
    assert set(many.reasons) == {"first", "cut", None} and 4 < len(many.keys) < 12


def test_a_propagation_is_thrown_away_where_both_can_be_paid() -> None:
    # Zero flow does not explain what moves.
    budget = Budget(gflops=2.8, distrust=Distrust(warp_error=6.0)).with_costs(COSTS)
    schedule = run(budget, drift(40))
    assert schedule.reasons.count("distrust") > 1 and sum(paid(schedule)) <= 40 * 2.8 + 2 * budget.surcharge


def test_a_stretch_with_more_motion_gets_more_key_frames() -> None:
    even = drift(72)
    images = [*even[:36], *even[36::2]]
    keys = run(Budget(gflops=2.8, weight=1.0).with_costs(COSTS), images).keys
    slow = [b - a for a, b in pairwise(keys) if 10 <= a < b <= 35]
    fast = [b - a for a, b in pairwise(keys) if a >= 35]
    assert sum(fast) / len(fast) < sum(slow) / len(slow)


def test_the_whole_price_of_a_key_frame_is_every_frame() -> None:
    assert run(Budget(ms=10.0).with_costs(COSTS), drift(6)).keys == list(range(6))


def test_streams_share_nothing() -> None:
    budget = Budget(gflops=2.8).with_costs(COSTS)
    first, second = restless(30, 5), restless(30, 6)
    alone = run(budget, first)
    states: list[KeyFrameState | None] = [None, None]
    together: list[object] = []
    for pair in zip(first, second, strict=True):
        for number, image in enumerate(pair):
            old = states[number]
            decision = budget.before(image[None], old)
            age = 0 if decision.reason is not None or old is None else old.age + 1
            states[number] = KeyFrameState(image[None], PREDICTION, 0, age, decision.reason, decision.schedule)
            if number == 0:
                together.append(decision.reason)
    assert together == alone.reasons


def test_bad_budgets_are_refused() -> None:
    for values in ({}, {"gflops": 1.0, "ms": 1.0}, {"ms": 0.0}, {"gflops": 1.0, "head_start": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            Budget(**values)
    with pytest.raises(ValueError, match=r"1 gflops a frame cannot be held: a propagated frame alone takes 1, a key frame 10"):
        Budget(gflops=1.0).with_costs(COSTS)
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match="with_costs"):
        Budget(gflops=2.0).before(image, None)
    with pytest.raises(ValueError, match="another scheduler"):
        Budget(gflops=2.0).with_costs(COSTS).before(image, KeyFrameState(image, PREDICTION, 3, 1, None, "something"))
    assert isinstance(Budget(gflops=2.0).with_costs(COSTS).before(image, None).schedule, Account)
