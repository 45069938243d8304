"""Laws of a queued device, on one whose copies hold anything until they are waited for: equal results, right errors, no wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from src.inference import clip_stream, frame_networks, offline, stream_checks, streaming
from src.inference.runtime import transfers
from src.inference.runtime.transfers import run_beside, upload
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Mode, StreamingSegmentor
from src.inference.video import prediction
from src.inference.video.prediction import FramePrediction, FramePredictor
from src.structures import MaskPrediction
from tests.inference.runtime.test_cuda_graph import Capturing
from tests.inference.tiny import frames, tiny_propagator
from tests.inference.video.test_prediction import Images

CPU = torch.device("cpu")


class FakeCuda:
    """Queue of a device: a copy to the host is made when an event behind it is waited for."""

    def __init__(self) -> None:
        self.copies: list[tuple[Tensor, Tensor]] = []
        self.log: list[str] = []

    def to_host(self, tensor: Tensor) -> Tensor:
        self.copies.append((torch.full_like(tensor, 77), tensor))
        return self.copies[-1][0]

    def wait_stream(self, other: object) -> None:
        self.log.append("follow")


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def record(self, stream: object) -> None:
        self.before, self.cuda.copies = self.cuda.copies, []

    def synchronize(self) -> None:
        self.cuda.log.append("wait")
        for there, here in self.before:
            there.copy_(here)

    def elapsed_time(self, later: FakeEvent) -> float:
        return 2000.0


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()

    def refuse(device: object = None) -> None:
        raise AssertionError("waited for the device")

    for module in (transfers, frame_networks, clip_stream, prediction):
        monkeypatch.setattr(module, "is_queued", lambda device: True)
    for module in (streaming, offline, stream_checks):
        monkeypatch.setattr(module, "synchronize", refuse)
    monkeypatch.setattr(transfers, "_to_host", fake.to_host)
    monkeypatch.setattr(transfers, "_side_stream", lambda device: fake)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: FakeEvent(fake))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: fake)
    monkeypatch.setattr(torch.cuda, "stream", lambda side: nullcontext())
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: fake.log.append("keep"))
    return fake


def segmentor(mode: Mode = "online", key_interval: int = 3, **options: Any) -> StreamingSegmentor:
    return StreamingSegmentor(tiny_propagator("correlation"), FixedInterval(key_interval), mode=mode, **options)


def late(stream: StreamingSegmentor, images: list[Tensor]) -> Iterator[FramePrediction]:
    return FramePredictor(stream, with_flow=True, late=True)(Images(images))


@pytest.mark.parametrize(("mode", "fuse_keys"), [("online", True), ("offline", False)])
def test_late_results_equal_those_that_were_waited_for(request: pytest.FixtureRequest, mode: Mode, fuse_keys: bool) -> None:
    stream, images = segmentor(mode, fuse_keys=fuse_keys), frames(6)
    expected = list(FramePredictor(stream, with_flow=True)(Images(images)))
    fake: FakeCuda = request.getfixturevalue("cuda")
    found = list(late(stream, images))
    assert fake.log.count("wait") == 6
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.semantic_map, other.semantic_map)
        assert (one.frame.name, one.is_key, one.reason, one.offsets) == (
            other.frame.name,
            other.is_key,
            other.reason,
            other.offsets,
        )
        assert one.disoccluded_share == other.disoccluded_share and one.seconds == 2
        assert (one.flow is None) == (other.flow is None) == (other.is_key)
        if one.flow is not None and other.flow is not None and one.disoccluded is not None and other.disoccluded is not None:
            assert torch.equal(one.flow, other.flow) and torch.equal(one.disoccluded, other.disoccluded)


def test_a_result_is_waited_for_once_the_next_frame_is_queued(cuda: FakeCuda) -> None:
    stream = segmentor()
    queued = 0
    for number, result in enumerate(late(stream, frames(4)), 1):
        queued = cuda.log.count("keep")
        assert int(result.frame.name) == number - 1 and queued == min(number + 1, 4) and cuda.log.count("wait") == number
    assert queued == 4


@pytest.mark.usefixtures("cuda")
def test_nothing_is_read_inside_a_frame() -> None:
    # Full-size label maps of a CPU read values.
    stream = segmentor(map_size="mask")
    with Capturing():
        labelled = list(stream.label_frames(frames(4), wait=False))
    assert [len(one.checks) for one in labelled] == [1, 1, 1, 1]
    with pytest.raises(RuntimeError, match="not permitted"), Capturing():
        labelled[0].checks[0].enforce()


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("bad", [1, 3])
def test_an_error_names_its_frame_and_is_not_lost_at_the_end(monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    stream, calls = segmentor(key_interval=1), list[int]()
    forward = stream.propagator.segmentor.forward

    def damaged(image: Tensor) -> MaskPrediction:
        found: MaskPrediction = forward(image)
        calls.append(len(calls))
        masks = found.mask_logits_per_layer
        return replace(found, mask_logits_per_layer=masks * torch.nan) if calls[-1] == bad else found

    monkeypatch.setattr(stream.propagator.segmentor, "forward", damaged)
    results = late(stream, frames(4))
    assert [next(results).frame.name for _ in range(bad)] == [str(number) for number in range(bad)]
    with pytest.raises(ValueError, match=f"^frame {bad}: 100.0% of its mask logits are NaN"):
        next(results)
    assert len(calls) == min(bad + 2, 4)


@pytest.mark.usefixtures("cuda")
def test_frames_before_an_error_of_the_next_one_are_not_lost() -> None:
    class Breaking(Images):
        def __iter__(self) -> Any:
            yield from super().__iter__()
            raise OSError("the source broke")

    results = FramePredictor(segmentor(), late=True)(Breaking(frames(2)))
    assert [next(results).frame.name for _ in range(2)] == ["0", "1"]
    with pytest.raises(OSError, match="the source broke"):
        next(results)


@pytest.mark.usefixtures("cuda")
def test_a_single_step_raises_at_once() -> None:
    stream = segmentor()
    with torch.no_grad():
        next(iter(stream.propagator.segmentor.parameters())).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^frame 0: "):
        stream.step(frames(1)[0], None)


def test_a_frame_of_the_device_keeps_its_order(cuda: FakeCuda) -> None:
    for on_host, log in ((True, ["follow", "keep"]), (False, ["follow"])):
        cuda.log.clear()
        assert run_beside(CPU, on_host, lambda: (torch.ones(1), "decided"))[1] == "decided"
        assert cuda.log == log


def test_a_cpu_copies_and_marks_nothing() -> None:
    image = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert upload(image, CPU) is image
    stream = segmentor()
    predictor = FramePredictor(stream, late=True)
    held = [(result.frame.name, len(predictor.held)) for result in predictor(Images(frames(3)))]
    assert held == [("0", 0), ("1", 0), ("2", 0)]
