import pytest
import torch

from src.inference.evaluation.fusing import Fusing
from src.inference.video.prediction import FramePrediction
from src.inference.video.sources import Frame
from src.measure.cost import FrameCost, FusionCost
from src.structures import KeyReason
from src.web.run_cost import RunTimes, conditions, cost_rows

FUSED = FusionCost(carry=12.0, carry_on=14.0, post={(2, False): 8.0, (1, True): 8.0, (2, True): 11.0})
COST = FrameCost(key=100.0, propagate=10.0, post=5.0, params_m={}, fused={"linear": FUSED})


def times(*frames: tuple[KeyReason | None, float]) -> RunTimes:
    found = RunTimes()
    for reason, seconds in frames:
        picture = Frame(torch.zeros(3, 1, 1, dtype=torch.uint8), "", 0, 0)  # type: ignore[arg-type]
        offsets = (-1,) if reason is None else (0,)
        found.add(FramePrediction(picture, torch.zeros(1, 1), reason is not None, None, reason, seconds, offsets=offsets))
    return found


def test_key_and_nonkey_frames_are_priced_apart() -> None:
    run = times(("first", 0.4), (None, 0.1), (None, 0.2), (None, 0.3), ("interval", 0.6), (None, 0.2))
    key, nonkey, average, every = cost_rows(run, COST)
    assert (key.frames, key.gflops, key.milliseconds) == (2, 105.0, pytest.approx(500))
    assert (nonkey.frames, nonkey.gflops, nonkey.milliseconds) == (4, 15.0, pytest.approx(200))
    assert (average.frames, average.gflops) == (6, pytest.approx((2 * 105 + 4 * 15) / 6))
    assert average.milliseconds == pytest.approx(300)
    assert (every.gflops, every.milliseconds) == (105.0, pytest.approx(500))


def test_a_single_stall_does_not_dominate_the_average() -> None:
    run = times(("first", 0.4), (None, 0.1), (None, 0.1), (None, 60.0))
    assert cost_rows(run, COST)[2].milliseconds == pytest.approx((400 + 3 * 100) / 4)


def test_at_a_fixed_interval_the_average_is_that_of_the_cost_count() -> None:
    run = times(*[("interval" if i % 5 == 0 else None, 0.1) for i in range(20)])
    assert cost_rows(run, COST)[2].gflops == pytest.approx(COST.average(5))


def test_looking_at_frames_is_paid_for() -> None:
    run = times(("first", 0.1), (None, 0.1), ("change", 0.1), ("cut", 0.1))
    with_signal = cost_rows(run, COST, signal_gflops=0.5)
    assert with_signal[2].gflops == pytest.approx((3 * 105 + 15) / 4 + 0.5) and with_signal[3].gflops == 105


def test_frames_within_a_scene_pay_for_all_their_key_frames_and_the_average_for_those_they_had() -> None:
    picture = Frame(torch.zeros(3, 1, 1, dtype=torch.uint8), "", 0, 0)  # type: ignore[arg-type]
    run = RunTimes()
    for is_key, offsets in ((True, (0, 3)), (False, (-1, 2)), (False, (-2, 1)), (True, (-3, 0)), (False, (-1,))):
        run.add(FramePrediction(picture, torch.zeros(1, 1), is_key, None, None, 0.1, offsets=offsets))
    key, nonkey, average, every = cost_rows(run, COST, 0.5, Fusing("offline", "linear", True))
    assert (key.name, key.gflops) == ("key frame, fused", 100 + 2 * 12 + 11 + 0.5)
    assert (nonkey.name, nonkey.gflops) == ("non-key frame, from two key frames", 2 * 12 + 8 + 0.5)
    assert average.gflops == pytest.approx((2 * (100 + 12 + 8) + 2 * (2 * 12 + 8) + 10 + 5) / 5 + 0.5)
    # The time of a fused key frame is not that of the segmentor.
    assert (every.gflops, every.milliseconds) == (105, None)


def test_a_run_without_nonkey_frames_has_no_cost_for_them() -> None:
    nonkey = cost_rows(times(("first", 0.1), ("interval", 0.1)), COST)[1]
    assert (nonkey.frames, nonkey.gflops, nonkey.milliseconds) == (0, None, None)
    with pytest.raises(ValueError, match="no frame"):
        cost_rows(times(), COST)


def test_the_machine_is_named() -> None:
    machine: dict[str, str | int] = {"device": "cpu: A", "threads": 3, "precision": "float32 products: high", "torch": "2"}
    text = conditions(machine, (48, 64))
    assert all(word in text for word in ("cpu: A", "threads: 3", "float32 products: high", "torch 2", "48x64"))
    # The number of CPU threads is irrelevant for a GPU.
    text = conditions({**machine, "device": "cuda: B"}, (48, 64), "bfloat16")
    assert "threads" not in text and "autocast bfloat16" in text and "float32" not in text
