"""Laws of the adaptive scheduler: the fixed interval in even motion, and a key frame at every cut."""

from itertools import pairwise

import pytest
import torch

from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.signals import difference_and_similarity, thumbnail
from src.structures import KeyFrameState
from tests.inference.schedules import PREDICTION, crossing, cut_clip, drift, run


@pytest.mark.parametrize("interval", [1, 2, 5, 7])
def test_in_even_motion_it_is_the_fixed_interval(interval: int) -> None:
    assert run(Adaptive(interval), drift(22)).keys == list(range(0, 22, interval))


def test_a_cut_is_a_key_frame_and_the_interval_starts_there() -> None:
    schedule = run(Adaptive(4), cut_clip((6, 7, 9)))
    assert schedule.keys == [0, 4, 6, 10, 13, 17, 21]
    assert [schedule.reasons[key] for key in schedule.keys] == ["first", "change", "cut", "change", "cut", "change", "change"]
    assert run(Adaptive(4, cut_similarity=-1), cut_clip((6, 7, 9))).reasons.count("cut") == 0


@pytest.mark.parametrize("speed", [12, 24, 32, 48])
def test_an_object_that_crosses_the_picture_is_change_and_no_cut(speed: int) -> None:
    images = crossing(speed=speed)
    similar = [difference_and_similarity(thumbnail(a[None]), thumbnail(b[None]))[1] for a, b in pairwise(images)]
    assert min(similar) < 0.65  # by the similarity alone it would be a cut
    schedule = run(Adaptive(5), images)
    assert "cut" not in schedule.reasons
    # The change brings the next key frame forward.
    assert schedule.keys[:3] == [0, 5, 10] and schedule.keys[3] < 15


def test_a_cut_beside_a_crossing_object_is_found_at_its_frame() -> None:
    images = [*crossing()[:12], *drift(6, seed=4)]
    schedule = run(Adaptive(50), images)
    assert [(key, schedule.reasons[key]) for key in schedule.keys] == [(0, "first"), (12, "cut")]


def test_min_interval_delays_cuts_and_max_interval_ends_a_still_scene() -> None:
    assert run(Adaptive(20, min_interval=3), cut_clip((4, 2, 6))).keys == [0, 4, 7]
    still = [drift(1)[0]] * 30
    assert run(Adaptive(5, weight=1.0, max_interval=12), still).keys == [0, 12, 24]
    assert run(Adaptive(5, weight=1.0), still).reasons[15] == "max_interval"
    for schedule in (run(Adaptive(3, min_interval=2, max_interval=4), cut_clip((3, 1, 1, 9, 2, 8))),):
        gaps = [b - a for a, b in zip(schedule.keys, schedule.keys[1:], strict=False)]
        assert min(gaps) >= 2 and max(gaps) <= 4


def test_every_late_frame_is_a_key_frame_of_one_interval_shift() -> None:
    keys = [run(Adaptive(5, interval_shift=share / 5), drift(25)).keys for share in range(5)]
    assert sorted(key for found in keys for key in found if key >= 5) == list(range(5, 25))


def test_a_state_of_another_scheduler_is_refused() -> None:
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match="another scheduler: it has a str; expected a ChangeState"):
        Adaptive().decide(image, KeyFrameState(image, PREDICTION, 3, 1, None, "something"))


@pytest.mark.parametrize(
    "values",
    [
        {"key_interval": 0.5},
        {"min_interval": 0},
        {"min_interval": 4, "max_interval": 3},
        {"weight": 1.1},
        {"cut_similarity": 2},
        {"interval_shift": 1},
    ],
)
def test_bad_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Adaptive(**values)  # type: ignore[arg-type]
