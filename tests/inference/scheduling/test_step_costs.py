import math

import pytest

from src.inference.scheduling.step_costs import StepCosts


def test_the_mean_counts_what_was_thrown_away() -> None:
    costs = StepCosts.of_parts(key=10.0, propagate=2.0, every=0.5)
    assert (costs.key, costs.nonkey, costs.rejection) == (10.5, 2.5, 10.0)
    # Two plain key frames, one whose propagation was thrown away, five propagated frames.
    assert costs.mean(keys=3, rejected=1, nonkeys=5) == pytest.approx((2 * 10.5 + 12.5 + 5 * 2.5) / 8)
    assert math.isnan(costs.mean(0, 0, 0))


@pytest.mark.parametrize("values", [(-1.0, 0.5, 1.0), (1.0, -0.5, 1.0), (2.0, 1.0, -1.0)])
def test_impossible_costs_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="no negative cost"):
        StepCosts(*values)
