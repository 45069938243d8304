"""Laws of the speed benchmark: ratios are those of the times, and our label maps are the plain ones."""

import dataclasses

import pytest
import torch

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.speed import SpeedPlan, compare_maps, measure_speed
from src.measure.transformers_baseline import PlainMask2Former
from src.models.propagator import Propagator
from tests.inference.tiny import tiny_propagator


@pytest.fixture(scope="module")
def frames() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (1, 3, 64, 96), generator=generator, dtype=torch.uint8) for _ in range(2)]


def test_everything_is_measured_and_the_ratios_follow(frames: list[torch.Tensor]) -> None:
    propagator = tiny_propagator("query")
    streams = {k: StreamingSegmentor(propagator, FixedInterval(k)) for k in (1, 5)}
    row = measure_speed(propagator, streams, frames, SpeedPlan(warmup=0, repeats=1))
    times = {name: entry["median"] for name, entry in row["frames_ms"].items()}
    clips = {name: entry["median"] for name, entry in row["clips_ms"].items()}
    assert row["ratios"]["per_frame_vs_transformers"] == pytest.approx(times["plain"] / times["per_frame"])
    assert row["ratios"]["nonkey_vs_reference"] == pytest.approx(times["reference_nonkey"] / times["nonkey"])
    same_flow = times["reference_nonkey_our_flow"] / times["nonkey"]
    assert row["ratios"]["nonkey_vs_reference_our_flow"] == pytest.approx(same_flow)
    assert row["ratios"]["clip_k5_vs_per_frame"] == pytest.approx(clips["1"] / clips["5"])
    assert row["ratios"]["clip_k5_vs_transformers"] == pytest.approx(times["plain"] / clips["5"])
    assert all(part["floor_ms"] == pytest.approx(1e3 * part["gmacs"] / row["gmacs_per_s"]) for part in row["parts"])
    assert set(row["peak_memory_mib"]) == set(times)
    assert row["equal"]["pixels"] == 64 * 96 and row["equal"]["unexcused"] == 0


def test_what_was_not_asked_for_is_not_measured(frames: list[torch.Tensor]) -> None:
    propagator = tiny_propagator("copy")
    row = measure_speed(
        propagator, {1: StreamingSegmentor(propagator, FixedInterval(1))}, frames, SpeedPlan(0, 1, what=["clips"])
    )
    assert set(row["clips_ms"]) == {"1"} and not row["frames_ms"] and "parts" not in row and "equal" not in row
    assert set(row["ratios"].values()) == {None}


def test_a_wrong_map_is_not_excused(frames: list[torch.Tensor]) -> None:
    propagator = tiny_propagator("copy")
    plain = PlainMask2Former(propagator.segmentor)

    class Wrong:
        def step(self, image, state):
            semantic = plain.map_at_full_size(image)
            semantic[:, :2, :3] = (semantic[:, :2, :3] + 1) % propagator.segmentor.num_classes
            return semantic, state

    equal = compare_maps(propagator.segmentor.eval(), plain, Wrong(), frames[0])
    assert equal["different"] == 6 and equal["unexcused"] + equal["near_ties"] == 6 and equal["unexcused"] >= 4


def test_impossible_plans_are_refused(frames: list[torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="expected some of frames, clips, parts"):
        SpeedPlan(what=["frame"])
    propagator = tiny_propagator("copy")
    streams = {1: StreamingSegmentor(propagator, FixedInterval(1))}
    with pytest.raises(ValueError, match="a clip of 1 frames"):
        measure_speed(propagator, streams, frames[:1], SpeedPlan())
    other = Propagator(torch.nn.Identity(), propagator.flow)
    with pytest.raises(ValueError, match="segmentor is a Identity; only Mask2Former"):
        measure_speed(other, streams, frames, dataclasses.replace(SpeedPlan(), what=["clips"]))
