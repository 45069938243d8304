from fractions import Fraction
from itertools import pairwise

import pytest

from src.inference.video.timeline import Timeline

F = Fraction


def placed(timestamps: list[Fraction | None], interval: int = 10) -> list[Fraction]:
    timeline = Timeline(F(1, interval))
    return [timeline.place(timestamp) for timestamp in timestamps]


def test_distances_are_kept_and_the_first_frame_is_at_zero() -> None:
    assert placed([F(7), F(71, 10), F(9), F(20)]) == [0, F(1, 10), 2, 13]


def test_frames_without_a_time_follow_at_the_usual_interval() -> None:
    assert placed([None, None, None]) == [0, F(1, 10), F(2, 10)]
    assert placed([F(1), None, F(3)]) == [0, F(1, 10), 2]


@pytest.mark.parametrize(
    "ticks",
    [
        [0, 1, 3, 2, 4, 6, 5, 7],
        [0, 0, 0, 1],
        [5, 4, 6],
        [0, 1, 2, 2**62, 2**62 + 1],
        [10**6, 10**6 + 1, 0, 1, 2],
        [3, -(2**62), 4],
    ],
)
def test_times_always_increase(ticks: list[int]) -> None:
    times = placed([F(tick, 10) for tick in ticks])
    assert times[0] == 0 and all(a < b for a, b in pairwise(times))
    assert times[-1] < 3600


def test_swapped_frames_do_not_lengthen_the_video() -> None:
    assert placed([F(t, 10) for t in (0, 1, 3, 2, 4)]) == [0, F(1, 10), F(3, 10), F(35, 100), F(4, 10)]


def test_times_continue_after_a_discontinuity() -> None:
    assert placed([F(50), F(501, 10), F(0), F(1, 10), F(9)]) == [0, F(1, 10), F(2, 10), F(3, 10), F(92, 10)]
