"""Laws of step costs: the mean weights both kinds of frames by their number."""

import math

import pytest

from src.inference.scheduling.step_costs import StepCosts


def test_the_mean_weights_both_kinds_of_frames_by_their_number() -> None:
    costs = StepCosts.of_parts(key=10.0, propagate=2.0, post=0.5)
    assert (costs.key, costs.nonkey) == (10.5, 2.5)
    assert costs.mean(keys=3, nonkeys=5) == pytest.approx((3 * 10.5 + 5 * 2.5) / 8)
    assert math.isnan(costs.mean(0, 0))


def test_every_source_is_propagated_and_post_processed_and_the_change_is_measured_once() -> None:
    costs = StepCosts.of_parts(key=10.0, propagate=2.0, post=0.5, signal=0.25, sources=2, sources_of_key=2)
    assert (costs.key, costs.nonkey) == (10 + 0.5 + 2 * 2.5 + 0.25, 2 * 2.5 + 0.25)


@pytest.mark.parametrize("values", [(-1.0, 0.5), (1.0, -0.5)])
def test_negative_costs_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no negative cost"):
        StepCosts(*values)
