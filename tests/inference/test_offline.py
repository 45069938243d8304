"""Laws of offline inference and of fused key frames."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

from src.inference.batched_streaming import finish_windows, step_streams, step_windows
from src.inference.neighbors import Target, label_targets
from src.inference.offline import OfflineWindow
from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import Decision, FixedInterval, KeyFrameScheduler
from src.inference.scheduling.step_costs import StepCosts
from src.inference.step_result import PropagatedFrame
from src.inference.streaming import StreamingSegmentor
from src.models.fusion import FusionRule
from src.ops.masks import semantic_map
from src.structures import KeyFrameState
from tests.inference.tiny import frames, tiny_propagator

FLOWS = ["copy", "correlation", "dis", "query"]


def offline(
    flow: str, scheduler: KeyFrameScheduler, fuse_keys: bool = False, fusion: FusionRule = "photometric"
) -> StreamingSegmentor:
    return StreamingSegmentor(tiny_propagator(flow), scheduler, mode="offline", fusion=fusion, fuse_keys=fuse_keys)


def online(stream: StreamingSegmentor, **changes: Any) -> StreamingSegmentor:
    return StreamingSegmentor(stream.propagator, stream.scheduler, **changes)


def two_scenes(first: int, second: int) -> list[Tensor]:
    return frames(first) + [255 - frame for frame in frames(second, seed=7)]


def nearly_equal(one: PropagatedFrame, other: PropagatedFrame) -> None:
    """Require equal predictions up to the rounding of batches."""
    a, b = one.result.prediction, other.result.prediction
    assert torch.allclose(a.mask_logits, b.mask_logits, atol=1e-3)
    assert torch.allclose(a.class_logits, b.class_logits, atol=1e-4)
    assert (one.semantic_map != other.semantic_map).float().mean() < 1e-3


@pytest.mark.parametrize("flow", FLOWS)
def test_key_interval_one_without_fusion_is_the_segmentor(flow: str) -> None:
    stream, clip = offline(flow, FixedInterval(1)), frames(4)
    with torch.inference_mode():
        expected = [semantic_map(stream.propagator.segmentor(frame[None]))[0] for frame in clip]
    assert all(torch.equal(a, b) for a, b in zip(expected, stream.stream(clip), strict=True))


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("fuse_keys", [False, True])
def test_reversed_video_has_reversed_maps(flow: str, fuse_keys: bool) -> None:
    stream, clip = offline(flow, FixedInterval(3), fuse_keys), frames(10)
    forward, backward = list(stream.stream(clip)), list(stream.stream(clip[::-1]))[::-1]
    different = torch.stack([one != other for one, other in zip(forward, backward, strict=True)]).float().mean()
    assert different < 1e-3
    past_only = list(online(stream).stream(clip[::-1]))[::-1]
    changed = torch.stack([one != other for one, other in zip(forward, past_only, strict=True)]).float().mean()
    assert changed > 5 * different


@pytest.mark.parametrize("flow", FLOWS)
def test_without_a_next_key_frame_only_the_past_counts(flow: str) -> None:
    stream, clip = offline(flow, FixedInterval(4)), frames(7)
    late, causal = list(stream.label_frames(clip)), list(online(stream).label_frames(clip))
    for number in (0, 4, 5, 6):
        nearly_equal(late[number], causal[number])
    assert [one.result.offsets for one in late] == [(0,), (-1, 3), (-2, 2), (-3, 1), (0,), (-1,), (-2,)]
    assert any((a.semantic_map != b.semantic_map).any() for a, b in zip(late[1:4], causal[1:4], strict=True))


def test_the_flow_is_that_of_the_masks_that_the_nearest_rule_keeps() -> None:
    stream, clip = offline("query", FixedInterval(4), fusion="nearest"), frames(5)
    late = list(stream.label_frames(clip))
    keys = {number: stream.segment_key(clip[number])[1] for number in (0, 4)}
    for number, key in ((1, 0), (2, 0), (3, 4)):
        (carried,) = label_targets(stream, [Target(clip[number][None], late[number].result.state, (keys[key],))], "nearest")
        flow, expected = late[number].result.flow, carried.flow
        assert flow is not None and expected is not None
        assert torch.allclose(flow.segment_flow, expected.segment_flow, atol=1e-3)
        assert torch.allclose(late[number].result.prediction.mask_logits, carried.prediction.mask_logits, atol=1e-3)


@pytest.mark.parametrize("fuse_keys", [False, True])
def test_nothing_is_carried_across_a_scene_cut(fuse_keys: bool) -> None:
    stream = offline("dis", FixedInterval(4), fuse_keys)
    together = list(stream.label_frames(two_scenes(6, 6)))
    # Key frames are 0 and 4 of the first scene, 8 of the second, whose first two frames only have a key frame after them.
    expected = [(0,), (-1, 3), (-2, 2), (-3, 1), (0,), (-1,), (2,), (1,), (0,), (-1,), (-2,), (-3,)]
    if fuse_keys:
        expected[0], expected[4] = (0, 4), (-4, 0)
    assert [one.result.offsets for one in together] == expected
    alone = list(stream.label_frames(frames(6)))
    for a, b in zip(together[:6], alone, strict=True):
        nearly_equal(a, b)


def test_after_a_cut_without_a_key_frame_the_past_is_better_than_nothing() -> None:
    stream = offline("dis", FixedInterval(6))
    assert [one.result.offsets for one in stream.label_frames(two_scenes(3, 2))] == [(0,), (-1,), (-2,), (-3,), (-4,)]


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_fused_key_frames_have_their_neighbors_as_sources(mode: Any) -> None:
    stream = StreamingSegmentor(tiny_propagator("dis"), FixedInterval(2), mode=mode, fuse_keys=True)
    results = list(stream.label_frames(frames(6)))
    offsets = [one.result.offsets for one in results]
    if mode == "online":
        assert offsets == [(0,), (-1,), (-2, 0), (-3, -1), (-2, 0), (-3, -1)]
    else:
        assert offsets == [(0, 2), (-1, 1), (-2, 0, 2), (-1, 1), (-2, 0), (-1,)]
    assert [one.result.is_key for one in results] == [True, False] * 3
    plain = list(online(stream).label_frames(frames(6)))
    if mode == "online":
        nearly_equal(results[1], plain[1])
        carried_on = results[3].result.prediction
        assert carried_on.shares is not None and (results[3].semantic_map != plain[3].semantic_map).any()
        # Of a frame's fused masks, those of its key frame are carried as without fusion.
        own = carried_on.mask_logits[:, -plain[3].result.prediction.mask_logits.shape[1] :]
        assert torch.equal(own, plain[3].result.prediction.mask_logits)
    assert results[2].result.prediction.shares is not None and (results[2].semantic_map != plain[2].semantic_map).any()


def test_an_online_fused_key_frame_is_never_late_and_stops_at_a_cut() -> None:
    stream = StreamingSegmentor(tiny_propagator("dis"), FixedInterval(3), fuse_keys=True)
    state, offsets = None, []
    for frame in two_scenes(5, 5):
        result = stream.predict(frame, state)
        state = result.state
        offsets.append(result.offsets)
    assert offsets == [(0,), (-1,), (-2,), (-3, 0), (-4, -1), (-5, -2), (0,), (-1,), (-2,), (-3, 0)]


@pytest.mark.parametrize("fuse_keys", [False, True])
def test_several_streams_in_step_equal_each_alone(fuse_keys: bool) -> None:
    clips = [frames(7), two_scenes(4, 4), frames(3, (48, 40), seed=3)]
    schedulers = [FixedInterval(3), Adaptive(key_interval=3.0), FixedInterval(2)]
    stream = offline("query", FixedInterval(3), fuse_keys)
    found: list[list[PropagatedFrame]] = [[], [], []]
    windows = [OfflineWindow(fuse_keys) for _ in clips]
    for number in range(8):
        going = [n for n, clip in enumerate(clips) if number < len(clip)]
        images = [clips[n][number] for n in going]
        for n, results in zip(
            going, step_windows(stream, images, [windows[n] for n in going], [schedulers[n] for n in going]), strict=True
        ):
            found[n] += results
    for n, results in enumerate(finish_windows(stream, windows)):
        found[n] += results
    for n, clip in enumerate(clips):
        expected = list(stream.with_scheduler(schedulers[n]).label_frames(clip))
        assert len(found[n]) == len(clip)
        for a, b in zip(found[n], expected, strict=True):
            assert a.result.offsets == b.result.offsets and a.result.state.reason == b.result.state.reason
            nearly_equal(a, b)


def test_online_streams_in_step_fuse_their_key_frames() -> None:
    stream = StreamingSegmentor(tiny_propagator("query"), FixedInterval(2), fuse_keys=True)
    clips = [frames(5), frames(5, seed=1)]
    states: list[Any] = [None, None]
    for number in range(5):
        results = step_streams(stream, [clip[number] for clip in clips], states)
        for n, result in enumerate(results):
            expected = stream.predict(clips[n][number], states[n])
            assert result.offsets == expected.offsets
            assert torch.allclose(result.prediction.mask_logits, expected.prediction.mask_logits, atol=1e-3)
        states = [result.state for result in results]


@pytest.mark.parametrize(
    "scheduler",
    [Adaptive(key_interval=3.0), Budget(gflops=4.0).with_costs(StepCosts(10, 1))],
)
def test_schedulers_decide_as_online(scheduler: KeyFrameScheduler) -> None:
    clip = two_scenes(7, 7)
    late = offline("dis", scheduler)
    reasons = [one.result.state.reason for one in late.label_frames(clip)]
    assert reasons == [one.result.state.reason for one in online(late).label_frames(clip)]
    assert 2 <= sum(reason is not None for reason in reasons) < len(clip)


def test_frames_are_read_one_interval_ahead_and_not_further() -> None:
    read = 0

    def counted() -> Iterator[Tensor]:
        nonlocal read
        for frame in frames(13):
            read += 1
            yield frame

    for fuse_keys, ahead in ((False, 4), (True, 8)):
        read = 0
        stream = offline("copy", FixedInterval(4), fuse_keys)
        for number, _ in enumerate(stream.stream(counted())):
            assert read - number <= ahead
        assert read == 13


class Recording:
    """Fixed interval that keeps the latencies it is given."""

    def __init__(self) -> None:
        self.latencies: list[tuple[bool, float]] = []

    def decide(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        return FixedInterval(3).decide(image, state)

    def record_latency(self, state: KeyFrameState, milliseconds: float) -> object | None:
        self.latencies.append((state.reason is not None, milliseconds))
        return None


def test_latencies_of_both_kinds_of_frames_reach_the_scheduler() -> None:
    seconds, scheduler = count(), Recording()
    stream = StreamingSegmentor(tiny_propagator("copy"), scheduler, mode="offline", clock=lambda: float(next(seconds)))
    results = list(stream.label_frames(frames(6)))
    # In the order of the results, which is not that of the frames' decisions.
    assert [is_key for is_key, _ in scheduler.latencies] == [True, False, False] * 2
    assert [1e3 * one.seconds for one in results] == [ms for _, ms in scheduler.latencies]
    # A reading of the clock apart: the decision, the label map, and of non-key frames half of the networks' batch of two frames.
    assert all(ms == (2000 if is_key else 2500) for is_key, ms in scheduler.latencies)


def test_errors_name_the_frame_or_the_option() -> None:
    stream = offline("dis", FixedInterval(3))
    with pytest.raises(ValueError, match=r"mode is 'offline'.*expected 'online' for single steps"):
        stream.step(frames(1)[0], None)
    mixed = [*frames(2), *frames(1, (48, 56))]
    with pytest.raises(ValueError, match=r"frame 2 is \(1, 3, 48, 56\) at network size; expected \(1, 3, 40, 56\)"):
        list(stream.stream(mixed))
    with pytest.raises(ValueError, match="expected one image, as a video has one stream"):
        list(stream.stream([torch.zeros(2, 3, 40, 56, dtype=torch.uint8)]))
    with pytest.raises(ValueError, match="mode is 'both'; expected online or offline"):
        StreamingSegmentor(stream.propagator, FixedInterval(2), mode="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("flow", ["correlation", "dis", "query"])
def test_a_fresh_fusion_head_gives_the_photometric_result(flow: str) -> None:
    fixed = offline(flow, FixedInterval(3), fuse_keys=True)
    fixed.propagator.flow.add_fusion_head(4)
    learned = online(fixed, mode="offline", fusion="learned", fuse_keys=True)
    for one, other in zip(fixed.label_frames(frames(5)), learned.label_frames(frames(5)), strict=True):
        assert torch.equal(one.semantic_map, other.semantic_map)
        if len(one.result.offsets) > 1:
            shares = one.result.prediction.shares, other.result.prediction.shares
            assert shares[0] is not None and shares[1] is not None and torch.equal(*shares)


def test_the_learned_rule_is_refused_without_a_head() -> None:
    with pytest.raises(ValueError, match="fusion is learned, but the model's DISFlow has no fusion head"):
        offline("dis", FixedInterval(3), fusion="learned")


@pytest.mark.parametrize("flow", ["copy", "query"])
def test_consistency_estimates_the_flow_back_as_well(flow: str) -> None:
    rows = [list(offline(flow, FixedInterval(3), fusion=rule).label_frames(frames(5))) for rule in ("photometric", "consistency")]
    shares = [[row.result.prediction.shares for row in clip if row.result.prediction.shares is not None] for clip in rows]
    assert len(shares[0]) == len(shares[1]) == 2
    differ = [not torch.equal(one, other) for one, other in zip(*shares, strict=True)]
    # Flows that are 0 both ways agree everywhere.
    assert all(differ) if flow == "query" else not any(differ)
