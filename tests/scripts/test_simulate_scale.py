"""Laws of the simulation: no way to share is faster than the ideal, and nothing is left undone."""

import random

import pytest

from scripts.simulate_scale import Costs, Video, collection, queued, static_shares

QUIET, FAILING = Costs(2.0, 0.5, 0.0, 0.1), Costs(2.0, 0.5, 0.2, 0.1)


def videos(count: int = 60) -> list[Video]:
    return collection(count, 0.5, 1.5, 0.4, random.Random(0), 10)


def test_cases_computed_by_hand() -> None:
    # The file sizes mislead: the shares are (3) and (1, 1, 1) by size, but 2 and 6 hours of video.
    misled = [Video(2, 3), Video(2, 1), Video(2, 1), Video(2, 1)]
    draw = random.Random(0)
    assert static_shares(misled, 2, QUIET, draw).makespan == 12
    assert queued(misled, 2, QUIET, draw).makespan == 8 and queued(misled, 2, QUIET, draw).utilization == 1
    # Two parts of an hour side by side, then an hour of joining.
    assert queued([Video(2, 1)], 2, QUIET, draw, split_hours=1).makespan == 3
    assert queued([Video(2, 1)], 2, QUIET, draw, split_hours=2).makespan == 4


@pytest.mark.parametrize("costs", [QUIET, FAILING])
@pytest.mark.parametrize("workers", [1, 7])
def test_no_way_beats_the_ideal_and_failures_cost_time(costs: Costs, workers: int) -> None:
    ideal = sum(video.hours for video in videos()) * costs.per_hour / workers
    for one in (
        static_shares(videos(), workers, costs, random.Random(1)),
        queued(videos(), workers, costs, random.Random(1)),
        queued(videos(), workers, costs, random.Random(1), split_hours=0.5),
    ):
        assert one.makespan >= ideal * (1 - 1e-9) and (one.lost > 0) == (costs is FAILING)


def test_many_workers_wait_for_the_longest_video_unless_it_is_split() -> None:
    longest = max(video.hours for video in videos())
    whole, split = (queued(videos(), 60, QUIET, random.Random(1), hours) for hours in (None, 0.5))
    assert whole.makespan == pytest.approx(longest * 2) and split.makespan < whole.makespan / 2
