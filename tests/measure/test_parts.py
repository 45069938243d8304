"""Laws of the parts: together they are the frame, in multiply-adds and in time."""

import time

import pytest
import torch

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.cost import frame_cost
from src.measure.parts import part_costs, part_times
from tests.inference.tiny import tiny_propagator

SIZE = (64, 96)


@pytest.mark.parametrize("flow", ["query", "copy"])
def test_the_costs_of_the_parts_add_up_to_the_frame(flow: str) -> None:
    propagator = tiny_propagator(flow)
    costs, whole = part_costs(propagator, SIZE), frame_cost(propagator, SIZE)
    key = sum(cost for name, cost in costs.items() if name.startswith("key: "))
    nonkey = sum(cost for name, cost in costs.items() if name.startswith("non-key: "))
    assert (key, nonkey, costs["post-processing"]) == pytest.approx((whole.key, whole.propagate, whole.post))
    assert costs["key: pixel_decoder"] > 0 and costs["key: other"] < 0.1 * whole.key


def test_a_slow_part_is_timed_and_hooks_are_removed() -> None:
    propagator = tiny_propagator("query")
    stream = StreamingSegmentor(propagator, FixedInterval(2))
    encoder = propagator.flow.encoder
    hooks = sum(len(module._forward_hooks) for module in propagator.modules())
    waiting = encoder.register_forward_pre_hook(lambda *_: time.sleep(0.2))
    image = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    times = part_times(propagator, stream, image, image, warmup=0, repeats=1)
    waiting.remove()
    assert set(times) == set(part_costs(propagator, SIZE))
    assert times["non-key: flow, encoder"] + times["non-key: warp and other"] >= 200
    assert times["key: backbone"] > 0 and times["post-processing"] > 0
    assert sum(len(module._forward_hooks) for module in propagator.modules()) == hooks
