from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from src.inference.many_streams import step_streams
from src.inference.scheduler import Decision, FixedInterval
from src.inference.streaming import StepResult, StreamingSegmentor
from src.structures import FlowPrediction, KeyFrameState, MaskPrediction
from tests.inference.tiny import frames, tiny_propagator


@dataclass(frozen=True)
class DarkFirstPixel:
    """A key frame wherever the first pixel is black; every fourth propagation is thrown away. Counts the frames it has seen."""

    def before(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        seen = 1 if state is None else state.schedule + 1  # type: ignore[operator]
        if state is None:
            return Decision("first", seen)
        return Decision("change" if not image[0, :, 0, 0].any() else None, seen)

    def after(
        self, image: Tensor, state: KeyFrameState, decision: Decision, prediction: MaskPrediction, flow: FlowPrediction
    ) -> Decision:
        assert len(image) == len(prediction.queries) == len(flow.segment_flow) == 1
        return Decision("distrust" if decision.schedule % 4 == 0 else None, decision.schedule)  # type: ignore[operator]


def clip(seed: int, dark: tuple[int, ...], size: tuple[int, int] = (40, 56)) -> list[Tensor]:
    images = frames(8, size, seed)
    for number in dark:
        images[number] = images[number].clone()
        images[number][:, 0, 0] = 0
    return images


CLIPS = [clip(0, (2, 5)), clip(7, (4,)), clip(9, ()), clip(11, (2, 6), (48, 64))]


def alone(stream: StreamingSegmentor, images: list[Tensor]) -> list[StepResult]:
    state, results = None, []
    for image in images:
        results.append(stream.predict(image[None], state))
        state = results[-1].state
    return results


def together(stream: StreamingSegmentor, clips: list[list[Tensor]]) -> list[list[StepResult]]:
    states: list[KeyFrameState | None] = [None] * len(clips)
    results: list[list[StepResult]] = [[] for _ in clips]
    for images in zip(*clips, strict=True):
        for number, result in enumerate(step_streams(stream, images, states)):
            results[number].append(result)
            states[number] = result.state
    return results


@pytest.mark.parametrize("flow", ["copy", "query", "correlation"])
def test_streams_that_disagree_on_key_frames_do_as_each_would_alone(flow: str) -> None:
    stream = StreamingSegmentor(tiny_propagator(flow), DarkFirstPixel())
    batched = together(stream, CLIPS)
    assert [result.state.reason for result in batched[0]] == [
        "first", None, "change", "distrust", None, "change", None, "distrust",
    ]  # fmt: skip
    assert len({tuple(result.is_key for result in results) for results in batched}) == 4
    for images, results in zip(CLIPS, batched, strict=True):
        size = (images[0].shape[-2], images[0].shape[-1])
        for expected, found in zip(alone(stream, images), results, strict=True):
            assert (found.state.index, found.state.age, found.state.reason, found.state.schedule) == (
                expected.state.index, expected.state.age, expected.state.reason, expected.state.schedule,
            )  # fmt: skip
            assert torch.equal(found.state.image, expected.state.image)
            assert found.prediction.mask_logits.shape == expected.prediction.mask_logits.shape
            # Another batch size rounds differently: a pixel on the border between classes may flip.
            assert (found.semantic_map(size) == expected.semantic_map(size)).double().mean() > 0.999


def test_one_stream_is_the_plain_step_bit_for_bit() -> None:
    stream = StreamingSegmentor(tiny_propagator(), DarkFirstPixel())
    for expected, found in zip(alone(stream, CLIPS[0]), together(stream, CLIPS[:1])[0], strict=True):
        assert torch.equal(found.prediction.mask_logits, expected.prediction.mask_logits)
        assert torch.equal(found.prediction.class_logits, expected.prediction.class_logits)


def test_each_network_runs_once_for_all_streams_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), DarkFirstPixel())
    calls: list[tuple[str, int]] = []
    segment, propagate = stream.segment_key, stream.propagate_with_flow
    monkeypatch.setattr(stream, "segment_key", lambda image: calls.append(("key", len(image))) or segment(image))
    monkeypatch.setattr(
        stream, "propagate_with_flow", lambda image, state: calls.append(("propagate", len(image))) or propagate(image, state)
    )
    together(stream, [images[:3] for images in CLIPS[:3]])
    assert calls == [("key", 3), ("propagate", 3), ("propagate", 2), ("key", 1)]


def test_streams_begin_and_end_when_they_like() -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(3))
    first = step_streams(stream, [CLIPS[0][0]], [None])
    both = step_streams(stream, [CLIPS[0][1], CLIPS[1][0]], [first[0].state, None])
    assert [(result.state.index, result.is_key) for result in both] == [(1, False), (0, True)]
    # No view of the batch: the first stream's key frame would stay in memory as long as the second one's.
    assert both[1].prediction.mask_logits.untyped_storage().nbytes() == both[1].prediction.mask_logits.nbytes
    last = step_streams(stream, [CLIPS[1][1]], [both[1].state])
    assert last[0].state.index == 1 and step_streams(stream, [], []) == []


def test_bad_calls_are_refused() -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(3))
    with pytest.raises(ValueError, match="2 images and 1 states"):
        step_streams(stream, CLIPS[0][:2], [None])
    states = [result.state for result in step_streams(stream, [CLIPS[0][0], CLIPS[3][0]], [None, None])]
    with pytest.raises(ValueError, match="expected one size within a stream"):
        step_streams(stream, [CLIPS[0][1], CLIPS[0][1]], states)
