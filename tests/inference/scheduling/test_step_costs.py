"""Laws of step costs: the mean weights both kinds of frames by their number."""

import math

import pytest

from src.inference.scheduling.step_costs import StepCosts


def test_the_mean_weights_both_kinds_of_frames_by_their_number() -> None:
    costs = StepCosts(key=10.5, nonkey=2.5)
    assert costs.mean(keys=3, nonkeys=5) == pytest.approx((3 * 10.5 + 5 * 2.5) / 8)
    assert math.isnan(costs.mean(0, 0))


@pytest.mark.parametrize("values", [(-1.0, 0.5), (1.0, -0.5)])
def test_negative_costs_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no negative cost"):
        StepCosts(*values)
