"""Laws of batched streaming: every stream decides and predicts as it does alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from src.inference.batched_streaming import step_streams
from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.budget import Budget, BudgetState
from src.inference.scheduling.change import ChangeState
from src.inference.scheduling.scheduler import Decision, FixedInterval, KeyFrameScheduler
from src.inference.scheduling.step_costs import StepCosts
from src.inference.step_result import StepResult
from src.inference.streaming import StreamingSegmentor
from src.structures import FlowPrediction, KeyFrameState, MaskPrediction, PixelRead
from tests.inference.schedules import cut_clip
from tests.inference.tiny import frames, tiny_propagator


@dataclass(frozen=True)
class DarkFirstPixel:
    """Key frames where the first pixel is black; its state counts the frames."""

    def decide(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        seen = 1 if state is None else state.schedule + 1  # type: ignore[operator]
        if state is None:
            return Decision("first", seen)
        return Decision("change" if not image[0, :, 0, 0].any() else None, seen)


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
def test_streams_with_different_key_frames_give_the_results_of_each_alone(flow: str) -> None:
    stream = StreamingSegmentor(tiny_propagator(flow), DarkFirstPixel())
    batched = together(stream, CLIPS)
    assert [result.state.reason for result in batched[0]] == [
        "first", None, "change", None, None, "change", None, None,
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
            # Rounding depends on the batch size: pixels on the border between classes may flip.
            assert (found.semantic_map(size) == expected.semantic_map(size)).double().mean() > 0.999


COSTS = StepCosts(key=10.0, nonkey=1.0)
SCHEDULERS: dict[str, KeyFrameScheduler] = {
    "adaptive": Adaptive(4),
    "budget": Budget(gflops=3.0).with_costs(COSTS),
}
SHOTS = [cut_clip((3, 5, 8)), cut_clip((6, 1, 9)), cut_clip((16,)), cut_clip((2, 2, 12))]


def row_by_row(stream: StreamingSegmentor) -> StreamingSegmentor:
    """Compute each row of a batch separately, so that results do not depend on rounding by batch size."""
    segment, propagate, encode_key = stream._segment, stream._propagate, stream.propagator.flow.encode_key

    def segment_rows(images: Tensor) -> MaskPrediction:
        return _stacked([segment(images[row : row + 1]) for row in range(len(images))])

    def propagate_rows(
        key: MaskPrediction, key_image: Tensor, image: Tensor, features: tuple[Tensor, ...] | None
    ) -> tuple[MaskPrediction, FlowPrediction]:
        rows = [slice(row, row + 1) for row in range(len(image))]
        kept = [None if features is None else tuple(level[row] for level in features) for row in rows]
        done = [propagate(_row(key, row), key_image[row], image[row], own) for row, own in zip(rows, kept, strict=True)]
        flow = replace(
            done[0][1],
            segment_flow=torch.cat([flow.segment_flow for _, flow in done]),
            pixel_flows=tuple(torch.cat(level) for level in zip(*(flow.pixel_flows for _, flow in done), strict=True)),
            detail=None if done[0][1].detail is None else torch.cat([flow.detail for _, flow in done if flow.detail is not None]),
        )
        return _stacked([prediction for prediction, _ in done]), flow

    def encode_rows(images: Tensor) -> tuple[Tensor, ...] | None:
        rows = [encode_key(images[row : row + 1]) for row in range(len(images))]
        return None if rows[0] is None else tuple(torch.cat(level) for level in zip(*rows, strict=True))

    stream._segment, stream._propagate = segment_rows, propagate_rows  # type: ignore[assignment]
    stream.propagator.flow.encode_key = encode_rows  # type: ignore[method-assign]
    return stream


def _row(prediction: MaskPrediction, row: slice) -> MaskPrediction:
    return replace(
        prediction,
        class_logits_per_layer=prediction.class_logits_per_layer[:, row],
        mask_logits_per_layer=prediction.mask_logits_per_layer[:, row],
        queries=prediction.queries[row],
    )


def _stacked(rows: list[MaskPrediction]) -> MaskPrediction:
    return replace(
        rows[0],
        class_logits_per_layer=torch.cat([row.class_logits_per_layer for row in rows], dim=1),
        mask_logits_per_layer=torch.cat([row.mask_logits_per_layer for row in rows], dim=1),
        queries=torch.cat([row.queries for row in rows]),
        pixel_reads=tuple(
            PixelRead(torch.cat([read.mask_logits for read in reads if read]), torch.cat([read.flow for read in reads if read]))
            for reads in zip(*(row.pixel_reads for row in rows), strict=True)
        ),
    )


def change_of(state: KeyFrameState) -> list[Tensor | float | bool]:
    """Everything that a scheduler of this project keeps in a state."""
    schedule, credit = state.schedule, 0.0
    if isinstance(schedule, BudgetState):
        schedule, credit = schedule.change, schedule.credit
    assert isinstance(schedule, ChangeState)
    numbers = [schedule.change, schedule.difference_sum, schedule.difference_weight, schedule.cut, credit]
    return [schedule.thumbnail, *numbers]


def same(found: StepResult, expected: StepResult, equal: Callable[[Tensor, Tensor], bool] = torch.equal) -> bool:
    """True if two results and the scheduler states after them agree."""
    masks = equal(found.prediction.mask_logits, expected.prediction.mask_logits)
    classes = equal(found.prediction.class_logits, expected.prediction.class_logits)
    decided = [(r.state.reason, r.state.index, r.state.age, r.is_key) for r in (found, expected)]
    kept = zip(change_of(found.state), change_of(expected.state), strict=True)
    return (
        masks
        and classes
        and decided[0] == decided[1]
        and all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in kept)
    )


@pytest.mark.parametrize("flow", ["dis", "query"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_adaptive_and_stream_costss_equal_each_stream_alone_bit_for_bit(name: str, flow: str) -> None:
    stream = row_by_row(StreamingSegmentor(tiny_propagator(flow), SCHEDULERS[name]))
    batched = together(stream, SHOTS)
    # The streams differ in their key frames, so that batches are split.
    assert len({tuple(result.state.reason for result in results) for results in batched}) >= 3
    assert "cut" in {result.state.reason for results in batched for result in results}
    for images, results in zip(SHOTS, batched, strict=True):
        for expected, found in zip(alone(stream, images), results, strict=True):
            assert same(found, expected)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_in_a_batch_decisions_are_equal_and_predictions_differ_only_by_rounding(name: str) -> None:
    stream = StreamingSegmentor(tiny_propagator("dis"), SCHEDULERS[name])
    for images, results in zip(SHOTS, together(stream, SHOTS), strict=True):
        for expected, found in zip(alone(stream, images), results, strict=True):
            assert same(found, expected, lambda a, b: torch.allclose(a, b, rtol=1e-3, atol=1e-3))


def test_each_stream_can_have_its_own_scheduler() -> None:
    stream = row_by_row(StreamingSegmentor(tiny_propagator("dis"), FixedInterval(3)))
    schedulers = [*SCHEDULERS.values(), Adaptive(4, weight=1.0), Budget(gflops=4.0).with_costs(COSTS)]
    states: list[KeyFrameState | None] = [None] * 4
    found: list[list[StepResult]] = [[] for _ in range(4)]
    for images in zip(*SHOTS, strict=True):
        for number, result in enumerate(step_streams(stream, images, states, schedulers)):
            found[number].append(result)
            states[number] = result.state
    for scheduler, images, results in zip(schedulers, SHOTS, found, strict=True):
        assert all(same(a, b) for a, b in zip(results, alone(stream.with_scheduler(scheduler), images), strict=True))


def test_one_stream_equals_predict_bit_for_bit() -> None:
    stream = StreamingSegmentor(tiny_propagator(), DarkFirstPixel())
    for expected, found in zip(alone(stream, CLIPS[0]), together(stream, CLIPS[:1])[0], strict=True):
        assert torch.equal(found.prediction.mask_logits, expected.prediction.mask_logits)
        assert torch.equal(found.prediction.class_logits, expected.prediction.class_logits)


def test_each_network_runs_once_for_all_streams_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), DarkFirstPixel())
    calls: list[tuple[str, int]] = []
    segment, propagate = stream.segment_resized, stream.propagate_resized
    monkeypatch.setattr(
        stream, "segment_resized", lambda image, *rest: calls.append(("key", len(image))) or segment(image, *rest)
    )
    monkeypatch.setattr(
        stream, "propagate_resized", lambda image, *rest: calls.append(("propagate", len(image))) or propagate(image, *rest)
    )
    together(stream, [images[:3] for images in CLIPS[:3]])
    assert calls == [("key", 3), ("propagate", 3), ("propagate", 2), ("key", 1)]


def test_streams_begin_and_end_at_any_time() -> None:
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
    with pytest.raises(ValueError, match="2 images, 1 states and 2 schedulers"):
        step_streams(stream, CLIPS[0][:2], [None])
    with pytest.raises(ValueError, match="2 images, 2 states and 1 schedulers"):
        step_streams(stream, CLIPS[0][:2], [None, None], [FixedInterval(3)])
    states = [result.state for result in step_streams(stream, [CLIPS[0][0], CLIPS[3][0]], [None, None])]
    with pytest.raises(ValueError, match="since a stream has one size"):
        step_streams(stream, [CLIPS[0][1], CLIPS[0][1]], states)
