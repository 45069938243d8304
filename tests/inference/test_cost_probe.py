"""Law: costs are medians of the calls after the first one, on a clock of the test's own."""

from types import SimpleNamespace

import pytest
from torch import Tensor

from src.inference import cost_probe
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Mode, StreamingSegmentor
from src.ops import device
from src.structures import KeyFrameState
from tests.inference.tiny import frames, tiny_propagator


@pytest.mark.parametrize(
    ("mode", "fuse_keys", "key", "nonkey"),
    [("online", False, 30.0, 7.0), ("online", True, 37.0, 14.0), ("offline", False, 30.0, 14.0), ("offline", True, 44.0, 14.0)],
)
def test_costs_are_medians_that_leave_out_the_first_call(
    monkeypatch: pytest.MonkeyPatch, mode: Mode, fuse_keys: bool, key: float, nonkey: float
) -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(3), mode=mode, fuse_keys=fuse_keys)
    now = [0.0]
    # The states of the key frames below are made before the clock starts to matter.
    key_seconds = iter([1.0, 1.0, 9.0, 0.03, 0.5, 0.02])
    # Per pair of frames; first those of the key frame, if it is fused.
    others = [9.0, 0.007, 0.005, 0.4]
    sources, sources_of_key = stream.sources
    pair_seconds = iter([one for other in others for one in [0.007] * sources_of_key + [other] * sources])
    segment, propagate = stream.segment_key, stream.propagate_resized

    def slow_segment(image: Tensor) -> object:
        now[0] += next(key_seconds)
        return segment(image)

    def slow_propagate(images: Tensor, state: KeyFrameState, numbers: list[int]) -> object:
        now[0] += len(images) * next(pair_seconds)
        return propagate(images, state, numbers)

    monkeypatch.setattr(device, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(stream, "segment_key", slow_segment)
    monkeypatch.setattr(stream, "propagate_resized", slow_propagate)
    costs = cost_probe.measure_ms(stream, frames(1, (96, 128))[0][None], repeats=3)
    assert costs.nonkey == pytest.approx(nonkey)
    assert costs.key == pytest.approx(key)
