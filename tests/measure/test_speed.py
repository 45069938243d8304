"""Laws of the speed benchmark: parts add up to frames, and our label maps are those of transformers."""

import dataclasses
from functools import partial

import pytest
import torch

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.cost import frame_cost
from src.measure.counting import count_multiply_adds
from src.measure.speed import FRAMES, PRODUCT_MULTIPLY_ADDS, SpeedPlan, compare_maps, matrix_product, measure_speed
from src.measure.transformers_baseline import TransformersMask2Former
from src.models.propagator import Propagator
from tests.inference.tiny import tiny_propagator


@pytest.fixture(scope="module")
def frames() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (1, 3, 64, 96), generator=generator, dtype=torch.uint8) for _ in range(2)]


def test_the_product_does_the_multiply_adds_that_it_states() -> None:
    assert count_multiply_adds(matrix_product(torch.device("cpu")))[1] == PRODUCT_MULTIPLY_ADDS


def test_the_calls_of_a_frame_compute_the_same_labels(frames: list[torch.Tensor]) -> None:
    """All timed ways of a key frame agree, and so do those of a non-key frame."""
    propagator = tiny_propagator("query")
    streams = {k: StreamingSegmentor(propagator, FixedInterval(k)) for k in (1, 5)}
    calls: list[str] = []
    others = {name: partial(calls.append, name) for name in list(FRAMES)[6:]}
    row = measure_speed(propagator, streams, frames, SpeedPlan(warmup=0, repeats=1), others)
    assert calls[:8] == list(others)
    assert row["equal"]["pixels"] == 64 * 96 and row["equal"]["unexcused"] == 0
    assert set(row["peak_memory_mib"]) == set(row["frames_ms"]) == set(FRAMES) and all(row["ratios"].values())
    # The parts add up to whole frames: no part is counted twice or lost.
    cost = frame_cost(propagator, (64, 96))
    counted = sum(part["gmacs"] for part in row["parts"])
    assert counted == pytest.approx(cost.key + cost.propagate + cost.post, rel=1e-6)


def test_only_planned_measurements_run(frames: list[torch.Tensor]) -> None:
    propagator = tiny_propagator("copy")
    row = measure_speed(
        propagator, {1: StreamingSegmentor(propagator, FixedInterval(1))}, frames, SpeedPlan(0, 1, what=["clips"])
    )
    assert set(row["clips_ms"]) == {"1"} and not row["frames_ms"] and "parts" not in row and "equal" not in row
    assert set(row["ratios"].values()) == {None}


def test_wrong_labels_are_counted(frames: list[torch.Tensor]) -> None:
    propagator = tiny_propagator("copy")
    baseline = TransformersMask2Former(propagator.segmentor)

    class Wrong:
        def step(self, image, state):
            semantic = baseline.map_at_full_size(image)
            semantic[:, :2, :3] = (semantic[:, :2, :3] + 1) % propagator.segmentor.num_classes
            return semantic, state

    equal = compare_maps(propagator.segmentor.eval(), baseline, Wrong(), frames[0])
    assert equal["different"] == 6 and equal["unexcused"] + equal["near_ties"] == 6 and equal["unexcused"] >= 4


def test_impossible_plans_are_refused(frames: list[torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="expected some of frames, clips, parts"):
        SpeedPlan(what=["frame"])
    propagator = tiny_propagator("copy")
    streams = {1: StreamingSegmentor(propagator, FixedInterval(1))}
    with pytest.raises(ValueError, match="a clip of 1 frames"):
        measure_speed(propagator, streams, frames[:1], SpeedPlan())
    other = Propagator(torch.nn.Identity(), propagator.flow)
    with pytest.raises(ValueError, match="segmentor is a Identity; expected Mask2Former"):
        measure_speed(other, streams, frames, dataclasses.replace(SpeedPlan(), what=["clips"]))
