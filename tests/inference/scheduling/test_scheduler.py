"""Laws of the fixed interval: the paper's key frames, and every frame in exactly one phase."""

import pytest
import torch

from src.inference.scheduling.scheduler import FixedInterval
from src.structures import KeyFrameState, MaskPrediction

IMAGE = torch.zeros(1, 3, 8, 8)
PREDICTION = MaskPrediction(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 4), (8, 8), (8, 8))


def key_frames(scheduler: FixedInterval, count: int) -> list[int]:
    keys = [0]
    for index in range(1, count):
        state = KeyFrameState(IMAGE, PREDICTION, index=index - 1, age=index - 1 - keys[-1])
        reason = scheduler.decide(IMAGE, state).reason
        assert reason in (None, "interval")
        if reason is not None:
            keys.append(index)
    return keys


def test_the_first_frame_is_a_key_frame() -> None:
    assert FixedInterval(5, phase=3).decide(IMAGE, None).reason == "first"


def test_key_frames_of_the_paper() -> None:
    assert key_frames(FixedInterval(), 16) == [0, 5, 10, 15]


def test_interval_one_is_every_frame() -> None:
    assert key_frames(FixedInterval(1), 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("interval", [2, 3, 5])
def test_every_late_frame_is_a_key_frame_of_exactly_one_phase(interval: int) -> None:
    # After the first interval, every frame is a key frame in exactly one phase.
    keys = [key_frames(FixedInterval(interval, phase), 20) for phase in range(interval)]
    for phase, found in enumerate(keys):
        assert found == [0, *range(phase or interval, 20, interval)]
    late = sorted(index for found in keys for index in found if index >= interval)
    assert late == list(range(interval, 20))


@pytest.mark.parametrize("interval, phase", [(0, 0), (-1, 0), (5, 5), (5, -1), (2.0, 0), (True, 0)])
def test_bad_values_are_refused(interval: int, phase: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        FixedInterval(interval, phase)
