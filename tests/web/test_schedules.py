from functools import partial

import pytest

from src.inference.scheduling.scheduler import FixedInterval
from src.web.schedules import Schedule


def test_the_slider_sets_the_argument() -> None:
    schedule = Schedule("fixed", "k", "key_interval", FixedInterval, 1, 30, 5)
    assert schedule.scheduler(7.0) == FixedInterval(7)
    made: list[dict[str, float]] = []
    share = Schedule("share", "s", "share", lambda **given: made.append(given), 0.1, 1, 0.5, step=0.1)  # type: ignore[arg-type, func-returns-value]
    share.scheduler(1)
    assert made == [{"share": 1.0}] and isinstance(made[0]["share"], float)


def test_a_value_refused_by_the_scheduler_raises() -> None:
    schedule = Schedule("fixed", "k", "key_interval", partial(FixedInterval, phase=2), 1, 30, 5)
    with pytest.raises(ValueError, match="phase is 2"):
        schedule.scheduler(2)


@pytest.mark.parametrize(("value", "step"), [(0, 1), (31, 1), (5, 0)])
def test_a_slider_stands_within_its_range(value: float, step: float) -> None:
    with pytest.raises(ValueError, match=r"expected 1\.\.30"):
        Schedule("fixed", "k", "key_interval", FixedInterval, 1, 30, value, step)
