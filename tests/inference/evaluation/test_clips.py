import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.inference.evaluation.clips import EvaluationOptions, evaluate_clips, evaluate_streams
from src.inference.evaluation.comparison import MethodResult
from src.inference.evaluation.fusing import Fusing
from src.inference.evaluation.pairs import evaluate_pairs
from src.inference.evaluation.report import write_report
from src.inference.frame_input import FrameInput
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.step_result import PropagatedFrame, StepResult
from src.inference.streaming import StreamingSegmentor
from src.metrics.iou import MeanIoU
from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.structures import IGNORE_INDEX, FlowPrediction, KeyFrameState
from tests.inference.tiny import FakeClips, tiny_propagator, tiny_segmentor

FLOW = FlowPrediction(torch.zeros(1, 1, 2, 1, 1), (), (1, 1))


class Oracle(StreamingSegmentor):
    """Stream whose maps are those of a function of (image, age); key frames as scheduled."""

    def __init__(self, interval: int, phase: int, answer: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__(tiny_propagator("copy"), FixedInterval(interval, phase))
        self.answer = answer

    def label_frames(self, frames: Iterable[FrameInput]) -> Iterator[PropagatedFrame]:
        state = None
        for image in frames:
            assert isinstance(image, Tensor)
            index = 0 if state is None else state.index + 1
            if state is None or self.scheduler.decide(image, state).reason is not None:
                state = KeyFrameState(image, None, index, 0)  # type: ignore[arg-type]
            else:
                state = replace(state, index=index, age=state.age + 1)
            result = StepResult(None, FLOW if state.age else None, state, offsets=(-state.age,))  # type: ignore[arg-type]
            yield PropagatedFrame(self.answer(state.image if state.age else image, state.age)[None], 0.0, result)


def label_of(image: Tensor) -> Tensor:
    """The label of FakeClips, with a class where that has void: for the official protocol void is a label that holds still."""
    label = image[0].float().mean(0).div(64).long().clamp(0, 3)
    label[:2] = 0
    return label


def test_a_perfect_method_scores_one() -> None:
    data = FakeClips((20, 18))
    result = evaluate_streams([Oracle(1, 0, lambda image, age: label_of(image))], data)
    assert result.miou == result.wiou == 1.0
    assert result.video_consistency == {8: 1.0, 16: 1.0}
    assert result.miou_by_offset == {0: 1.0}
    assert result.frames == 38 and result.runs == 1
    assert (result.key_times.frames, result.nonkey_times.frames) == (38, 0)
    assert math.isnan(result.nonkey_times.median) and result.mean_ms(1) == result.key_times.median


def test_copying_gets_worse_with_the_offset_and_runs_are_averaged() -> None:
    data = FakeClips((12,))
    streams = [Oracle(4, phase, lambda image, age: label_of(image)) for phase in range(4)]
    apart = [evaluate_streams([stream], data) for stream in streams]
    together = evaluate_streams(streams, data)
    offsets = list(together.miou_by_offset.values())
    assert list(together.miou_by_offset) == [0, 1, 2, 3]
    assert offsets[0] == 1.0 and offsets == sorted(offsets, reverse=True) and offsets[3] < 0.95
    assert together.miou == pytest.approx(sum(result.miou for result in apart) / 4)
    assert together.wiou == pytest.approx(sum(result.wiou for result in apart) / 4)
    # Phase p has key frames at 0, p, p + 4, ...
    assert [result.key_times.frames for result in apart] == [3, 4, 4, 4]


def test_flicker_is_that_of_key_frames_and_of_the_others() -> None:
    """A map that is copied between key frames changes only there; the labels change everywhere alike, unlabelled frames aside."""
    data = FakeClips((9, 5), unlabelled=frozenset({8}))
    copied = evaluate_streams([Oracle(4, 0, lambda image, age: label_of(image))], data).flicker
    assert copied["flicker_other"] == 0 < copied["flicker_key_label"] < copied["flicker_key"]
    moving = evaluate_streams([Oracle(1, 0, lambda image, age: label_of(image))], data).flicker
    pairs = [(label_of(a[None]) != label_of(b[None])).double().mean() for one in data.images for a, b in pairwise(one)]
    # Frame 8, after the last label, is not run.
    assert moving["flicker_key"] == pytest.approx(float(sum(pairs[:7] + pairs[8:]) / 11)) and math.isnan(moving["flicker_other"])
    assert copied["flicker_other_label"] == pytest.approx(moving["flicker_key_label"], rel=0.5)


def test_positions_are_those_of_complete_intervals() -> None:
    """Twelve frames at interval 5: phase 0 has intervals from 0 and 5, phase 3 from 3; the rest is cut short by an end."""
    answer: Callable[[Tensor, int], Tensor] = lambda image, age: label_of(image)  # noqa: E731
    result = evaluate_streams([Oracle(5, phase, answer) for phase in (0, 3)], FakeClips((12,)))
    assert result.frames_by_position == dict.fromkeys(range(5), 3)
    assert result.frames_by_offset == {0: 6, 1: 6, 2: 5, 3: 4, 4: 3}
    iou = MeanIoU(4)
    data = FakeClips((12,))
    for key in (0, 5, 3):
        iou.update(label_of(data.images[0][key][None]), data.read_label(0, key + 3))
    assert result.miou_by_position[3] == iou.compute()["miou"]


def test_disoccluded_pixels_are_scored_where_the_flow_is_known() -> None:
    """A frozen map errs more where the picture has nothing to copy; key frames are left out."""
    data, iou = FakeClips((5,)), MeanIoU(4)
    stream = Oracle(5, 0, lambda image, age: label_of(image))
    result = evaluate_streams([stream], data, disoccluded=True)
    for age in range(1, 5):
        label = data.read_label(0, age)
        label[:, 2 * age :] = IGNORE_INDEX
        iou.update(label_of(data.images[0][0][None]), label)
    assert result.miou_disoccluded == iou.compute()["miou"]
    assert math.isnan(evaluate_streams([stream], data).miou_disoccluded)
    assert math.isnan(evaluate_streams([Oracle(1, 0, stream.answer)], data, disoccluded=True).miou_disoccluded)

    class WithoutFlow(FakeClips):
        def read_flow(self, clip: int, nonkey: int, key: int) -> None:
            return None

    assert math.isnan(evaluate_streams([stream], WithoutFlow((5,)), disoccluded=True).miou_disoccluded)


def test_scores_equal_those_of_the_stream() -> None:
    data, propagator = FakeClips(), tiny_propagator()
    iou = MeanIoU(data.num_classes)
    for clip, images in enumerate(data.images):
        for frame, found in enumerate(StreamingSegmentor(propagator, FixedInterval(3)).stream(images)):
            iou.update(found, data.read_label(clip, frame))
    scores = iou.compute()
    result = evaluate_clips(propagator, data, 3, EvaluationOptions(key_frame_offsets="first"))
    assert result.miou == float(scores["miou"]) and result.wiou == float(scores["wiou"])
    assert torch.equal(torch.tensor(result.iou_per_class).nan_to_num(-1), scores["iou_per_class"].float().nan_to_num(-1))


@pytest.mark.parametrize("fuse_keys", [False, True])
def test_offline_scores_equal_those_of_the_stream_up_to_the_last_label(fuse_keys: bool) -> None:
    """The key frame after the last label is read, and no frame after it."""
    data, propagator = FakeClips((12,), unlabelled=frozenset({4, *range(7, 12)})), tiny_propagator()
    options = EvaluationOptions(key_frame_offsets="first", fusing=Fusing("offline", "linear", fuse_keys))
    read: list[int] = []
    whole = data.read_image
    data.read_image = lambda clip, frame, interleaved=False: read.append(frame) or whole(clip, frame)  # type: ignore[func-returns-value, method-assign, assignment]
    result = evaluate_clips(propagator, data, 3, options)
    assert read == list(range(10 if fuse_keys else 7)) and result.key_times.frames == 3
    iou = MeanIoU(data.num_classes)
    for frame, found in enumerate(options.stream(propagator, FixedInterval(3)).stream(data.images[0])):
        if data.clips[0].labels[frame] is not None:
            iou.update(found, data.read_label(0, frame))
    assert result.miou == iou.compute()["miou"] and result.frames_by_offset == {0: 3, 1: 1, 2: 2}


def test_at_interval_one_the_method_does_not_matter() -> None:
    data = FakeClips((3,))
    copy, query = (evaluate_clips(tiny_propagator(flow, seed=5), data, 1) for flow in ("copy", "query"))
    assert (copy.miou, copy.wiou, copy.miou_by_offset) == (query.miou, query.wiou, query.miou_by_offset)


def test_unlabelled_frames_are_run_but_not_scored() -> None:
    seen: list[int] = []

    def answer(image: Tensor, age: int) -> Tensor:
        seen.append(age)
        return label_of(image)

    data = FakeClips((21,), unlabelled=frozenset({9}))
    result = evaluate_streams([Oracle(5, 0, answer)], data)
    assert len(seen) == 21 and result.frames == 20
    # The unlabelled frame splits the clip into runs of 9 and 11 frames, too short for windows of 16.
    assert math.isnan(result.video_consistency[16]) and not math.isnan(result.video_consistency[8])


def test_frames_after_the_last_label_are_not_run() -> None:
    seen: list[int] = []

    def answer(image: Tensor, age: int) -> Tensor:
        seen.append(age)
        return label_of(image)

    calls: list[tuple[int, int]] = []
    data = FakeClips((6, 3), unlabelled=frozenset({0, 4, 5}))
    result = evaluate_streams([Oracle(2, 0, answer)], data, lambda done, total: calls.append((done, total)))
    assert seen == [0, 1, 0, 1, 0, 1, 0] and result.frames == 5 and calls[-1] == (7, 7)


def test_labels_are_compared_at_their_own_size() -> None:
    class LargeLabels(FakeClips):
        def read_label(self, clip: int, frame: int) -> Tensor:
            return super().read_label(clip, frame).repeat_interleave(2, 0).repeat_interleave(2, 1)

    assert evaluate_streams([Oracle(1, 0, lambda image, age: label_of(image))], LargeLabels((3,))).miou == 1.0


def test_progress_reaches_the_end() -> None:
    calls: list[tuple[int, int]] = []
    evaluate_clips(tiny_propagator("copy"), FakeClips((3, 2)), 2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 10) for i in range(1, 11)]


def test_data_that_cannot_be_scored_is_refused() -> None:
    propagator = tiny_propagator("copy")
    with pytest.raises(ValueError, match="no labelled frame in its 1 clips"):
        evaluate_clips(propagator, FakeClips((2,), unlabelled=frozenset({0, 1})))
    data = FakeClips((2,))
    data.classes = ("a", "b")
    with pytest.raises(ValueError, match="the network has 4 classes, the data 2"):
        evaluate_clips(propagator, data)
    with pytest.raises(ValueError, match="expected 'stream' to save predictions"):
        evaluate_clips(propagator, FakeClips((4,)), 2, EvaluationOptions(protocol="pairs"), on_semantic_map=lambda *_: None)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"protocol": "some"}, "protocol is 'some'; expected one of stream, pairs"),
        ({"key_frame_offsets": "some"}, "key_frame_offsets is 'some'; expected one of all, first"),
        ({"protocol": "pairs", "temporal_consistency": True}, "expected temporal_consistency=false"),
        ({"protocol": "pairs", "fusing": Fusing("offline", "linear")}, "mode=online"),
        ({"protocol": "pairs", "key_frame_offsets": "first"}, "key_frame_offsets=all"),
    ],
)
def test_contradictory_options_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationOptions(**settings)


def test_the_callback_gets_every_map_of_the_first_run_even_without_labels() -> None:
    data, propagator = FakeClips((4, 3), unlabelled=frozenset({2, 3})), tiny_propagator()
    maps: dict[tuple[int, int], Tensor] = {}
    evaluate_clips(propagator, data, 2, on_semantic_map=lambda clip, frame, found: maps.__setitem__((clip, frame), found))
    assert list(maps) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
    for clip, images in enumerate(data.images):
        for frame, found in enumerate(StreamingSegmentor(propagator, FixedInterval(2)).stream(images)):
            assert torch.equal(maps[clip, frame], found)
    unlabelled = FakeClips((2,), unlabelled=frozenset({0, 1}))
    result = evaluate_clips(
        propagator, unlabelled, 2, EvaluationOptions(key_frame_offsets="first"), on_semantic_map=lambda *_: None
    )
    assert math.isnan(result.miou) and result.frames == 0 and result.key_times.frames == 1


def test_temporal_consistency_is_high_where_maps_move_with_the_image() -> None:
    """The picture drifts by two pixels a frame; its labels drift with it, and a frozen map does not."""
    data = FakeClips((6,), size=(64, 96))
    moving = Oracle(1, 0, lambda image, age: label_of(image))
    frozen = Oracle(6, 0, lambda image, age: label_of(image))
    follows, stays = (evaluate_streams([stream], data, temporal_consistency=True) for stream in (moving, frozen))
    assert follows.temporal_consistency > 0.97 > stays.temporal_consistency + 0.02
    assert math.isnan(evaluate_streams([moving], data).temporal_consistency)


class OneClass(FakeClips):
    """Bright pixels are the class, all others background."""

    classes = ("bright",)

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.where(self.images[clip][frame].float().mean(0) > 128, 0, IGNORE_INDEX).to(dtype)


def test_the_background_of_a_single_class_counts(tmp_path: Path) -> None:
    data = OneClass((6,))
    shares = torch.stack([data.read_label(0, t) == 0 for t in range(6)]).float().mean()
    oracle = Oracle(2, 0, lambda image, age: torch.where(image[0].float().mean(0) > 128, 0, IGNORE_INDEX))
    everywhere = Oracle(2, 0, lambda image, age: torch.zeros(image.shape[-2:], dtype=torch.int64))
    nowhere = Oracle(2, 0, lambda image, age: torch.full(tuple(image.shape[-2:]), IGNORE_INDEX))
    for stream, expected in ((oracle, None), (everywhere, float(shares)), (nowhere, 0.0)):
        stream.propagator = Propagator(tiny_segmentor(1), CopyFlow()).eval()
        result = evaluate_streams([stream], data)
        if expected is not None:
            assert result.miou == pytest.approx(expected) and result.iou_per_class == pytest.approx((expected,))
        assert result.miou_by_offset[0] == (1.0 if expected is None else result.miou_by_offset[0])
        assert write_report([MethodResult("query", 2, result)], data.classes, tmp_path)["per_class"].exists()


@pytest.mark.parametrize("protocol", ["every_frame", "pairs"])
def test_a_network_whose_predictions_are_not_finite_has_no_score(protocol: str) -> None:
    propagator = tiny_propagator("copy")
    for parameter in propagator.segmentor.parts()["mask_head"].parameters():
        parameter.data.fill_(1e30)
    stream = StreamingSegmentor(propagator, FixedInterval(2))
    with pytest.raises(ValueError, match=r"frame 0.* are NaN or infinite"):
        if protocol == "pairs":
            evaluate_pairs(stream, FakeClips((4,)), 2)
        else:
            evaluate_streams([stream], FakeClips((4,)))
