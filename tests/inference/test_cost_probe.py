"""Law: costs are medians of the calls after the first one, on a clock of the test's own."""

from types import SimpleNamespace

import pytest
from torch import Tensor

from src.inference import cost_probe
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.ops import device
from src.structures import KeyFrameState
from tests.inference.tiny import frames, tiny_propagator


def test_costs_are_medians_that_leave_out_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(3))
    now = [0.0]
    # The state of the first call below is made before the clock starts to matter.
    key_seconds, nonkey_seconds = iter([1.0, 9.0, 0.03, 0.5, 0.02]), iter([9.0, 0.007, 0.005, 0.4])
    segment, propagate = stream.segment_key, stream.propagate

    def slow_segment(image: Tensor) -> object:
        now[0] += next(key_seconds)
        return segment(image)

    def slow_propagate(image: Tensor, state: KeyFrameState) -> object:
        now[0] += next(nonkey_seconds)
        return propagate(image, state)

    monkeypatch.setattr(device, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(stream, "segment_key", slow_segment)
    monkeypatch.setattr(stream, "propagate", slow_propagate)
    costs = cost_probe.measure_ms(stream, frames(1, (96, 128))[0][None], repeats=3)
    assert (costs.key, costs.nonkey) == (pytest.approx(30.0), pytest.approx(7.0))
