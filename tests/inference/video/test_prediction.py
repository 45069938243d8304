import threading
import time
from collections.abc import Generator
from fractions import Fraction
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import FixedInterval, KeyFrameScheduler
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import Mode, StreamingSegmentor
from src.inference.video import prediction as video_prediction
from src.inference.video.pipeline import run_pipeline
from src.inference.video.prediction import FramePrediction, PredictionProgress, predict_video
from src.inference.video.sources import Frame, ImageFrames, SourceInfo
from src.models.flow import CopyFlow
from src.models.fusion import FusionRule
from src.models.propagator import Propagator
from src.structures import KeyFrameState, MaskPrediction
from tests.inference.tiny import FakeClips, frames, tiny_propagator, tiny_segmentor


class Images:
    """A source in memory."""

    def __init__(self, images: list[Tensor]) -> None:
        self.images = images
        self.info = SourceInfo("images", Fraction(10), Fraction(1, 10))
        self.decode_errors: list[str] = []

    def __iter__(self) -> Generator[Frame, None, None]:
        for i, image in enumerate(self.images):
            yield Frame(image, f"{i}", Fraction(i, 10), Fraction(1, 10))

    def stored_frames(self) -> int:
        return len(self.images)


def predicted(stream: StreamingSegmentor, images: list[Tensor], **options: object) -> list[FramePrediction]:
    out: list[FramePrediction] = []
    predict_video(stream, Images(images), out.append, **options)  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize("flow", ["copy", "dis", "pixel", "query"])
def test_maps_equal_those_of_the_evaluated_stream_bit_for_bit(flow: str) -> None:
    data = FakeClips((7,))
    stream = StreamingSegmentor(tiny_propagator(flow), FixedInterval(3), short_side=48)
    out: list[FramePrediction] = []
    predict_video(stream, ImageFrames.of_clip(data, "0"), out.append)
    expected = list(stream.stream(data.images[0]))
    assert len(torch.stack(expected).unique()) > 1
    assert all(torch.equal(a.semantic_map.long(), b) for a, b in zip(out, expected, strict=True))
    assert [result.is_key for result in out] == [True, False, False] * 2 + [True]
    assert all(result.flow is None for result in out)


LONG = frames(16)


def offline(key_interval: int, fuse_keys: bool = False, flow: str = "query") -> StreamingSegmentor:
    scheduler = FixedInterval(key_interval)
    return StreamingSegmentor(tiny_propagator(flow), scheduler, short_side=32, mode="offline", fuse_keys=fuse_keys)


def equal_maps(found: list[FramePrediction], expected: list[FramePrediction]) -> list[bool]:
    return [torch.equal(a.semantic_map, b.semantic_map) for a, b in zip(found, expected, strict=False)]


@pytest.mark.parametrize(("key_interval", "fuse_keys"), [(1, True), (3, False), (5, True), (64, False)])
def test_an_offline_prediction_equals_the_stream_for_any_interval_and_memory(
    monkeypatch: pytest.MonkeyPatch, key_interval: int, fuse_keys: bool
) -> None:
    monkeypatch.setattr(video_prediction, "run_pipeline", partial(run_pipeline, max_bytes=1))
    stream = offline(key_interval, fuse_keys)
    out = predicted(stream, LONG, depth=1)
    expected = list(stream.label_frames(LONG))
    assert all(torch.equal(a.semantic_map.long(), b.semantic_map[0]) for a, b in zip(out, expected, strict=True))
    assert [result.frame.name for result in out] == [str(number) for number in range(16)]
    assert [result.offsets for result in out] == [one.result.offsets for one in expected]
    assert [number for number, result in enumerate(out) if result.is_key] == list(range(0, 16, key_interval))
    assert [result.reason for result in out if result.is_key] == ["first", *["interval"] * (15 // key_interval)]
    online = predicted(StreamingSegmentor(stream.propagator, stream.scheduler, short_side=32), LONG)
    assert all(equal_maps(out, online)) == (key_interval == 64)


@pytest.mark.parametrize("fuse_keys", [False, True])
@pytest.mark.parametrize("read", [4, 5, 6, 11])
@pytest.mark.parametrize("how", ["max_frames", "stop"])
def test_every_frame_read_before_an_interruption_is_predicted(how: str, read: int, fuse_keys: bool) -> None:
    stream, stop = offline(5, fuse_keys), threading.Event()

    def after_read(done: PredictionProgress) -> None:
        if done.frames + done.held == read:
            stop.set()

    whole = predicted(stream, LONG)
    limits = {"max_frames": read} if how == "max_frames" else {"stop": stop, "progress": after_read}
    part = predicted(stream, LONG, **limits)
    assert [result.frame.name for result in part] == [str(number) for number in range(read)]
    # Frames up to the last key frame have both neighbors; a fused key frame waits for a further one.
    complete = 5 * ((read - 1) // 5) + (not fuse_keys)
    assert all(equal_maps(part[:complete], whole)) and (read == complete or not all(equal_maps(part, whole)))
    causal = list(StreamingSegmentor(stream.propagator, FixedInterval(5), short_side=32).label_frames(LONG))
    # The others are predicted from the past.
    rest = range(complete + fuse_keys, read)
    assert all(torch.equal(part[number].semantic_map.long(), causal[number].semantic_map[0]) for number in rest)


def test_progress_counts_the_frames_that_wait() -> None:
    reported: list[PredictionProgress] = []
    done = predict_video(offline(4), Images(LONG[:11]), lambda result: None, progress=reported.append)
    assert [(now.frames, now.held) for now in reported] == [
        (1, 0), (1, 2), (1, 3), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0), (5, 2), (5, 3), (5, 4),
        (6, 3), (7, 2), (8, 1), (9, 0), (9, 2), (10, 1), (11, 0),
    ]  # fmt: skip
    assert (done.frames, done.held, done.most_held, done.most_held_bytes) == (11, 0, 4, 4 * 3 * 40 * 56)
    assert str(reported[3]).startswith("1 + 4 waiting frames, ") and str(done).startswith("11 frames, ")
    assert predict_video(StreamingSegmentor(tiny_propagator("copy"), FixedInterval(4)), Images(LONG), print).most_held == 0


@pytest.mark.parametrize("fusion", ["linear", "nearest"])
@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("flow", ["dis", "query"])
def test_the_flow_of_fused_frames_is_that_to_the_key_frame_before(flow: str, mode: Mode, fusion: FusionRule) -> None:
    plain = StreamingSegmentor(tiny_propagator(flow), FixedInterval(4), short_side=32)
    fusing = StreamingSegmentor(plain.propagator, plain.scheduler, short_side=32, mode=mode, fusion=fusion, fuse_keys=True)
    for fused, causal in zip(*(predicted(one, LONG[:7], with_flow=True) for one in (fusing, plain)), strict=True):
        assert fused.is_key == causal.is_key == (fused.flow is None) == (causal.flow is None)
        # The nearest rule keeps the masks of the key frame after a frame.
        if fused.flow is not None and causal.flow is not None and not (fusion == "nearest" and fused.offsets[-1] == 1):
            assert torch.allclose(fused.flow, causal.flow, atol=1e-3)


def test_the_flow_is_returned_on_request_and_not_for_key_frames() -> None:
    out = predicted(StreamingSegmentor(tiny_propagator("dis"), FixedInterval(2)), frames(4), with_flow=True)
    assert [result.flow is None for result in out] == [True, False, True, False]
    # The image moves 2 px to the right per frame, so its source is 2 px to the left.
    assert out[1].flow is not None and out[1].flow.shape == (2, 40, 56)
    assert out[1].flow[0].median() == pytest.approx(-2, abs=0.5) and out[1].flow[1].abs().median() < 0.5


def test_disoccluded_pixels_are_counted_if_the_flow_has_a_confidence_and_returned_on_request() -> None:
    stream = StreamingSegmentor(tiny_propagator("correlation"), FixedInterval(2))
    counted, drawn = predicted(stream, frames(4)), predicted(stream, frames(4), with_flow=True)
    for result, pictured in zip(counted, drawn, strict=True):
        assert (
            result.disoccluded is None
            and (result.disoccluded_share is None) == result.is_key
            and result.disoccluded_share == pictured.disoccluded_share
        )
        if pictured.disoccluded is not None:
            assert pictured.disoccluded.shape == (40, 56) and pictured.disoccluded_share == pytest.approx(
                pictured.disoccluded.mean().item()
            )
            assert bool(((pictured.disoccluded > 0) & (pictured.disoccluded <= 1)).all())
        else:
            assert pictured.is_key
    assert all(
        result.disoccluded_share is None
        for result in predicted(StreamingSegmentor(tiny_propagator("dis"), FixedInterval(2)), frames(2))
    )


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_another_size_starts_a_new_stream(mode: Mode) -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(5), mode=mode)
    small, large = frames(3), frames(3, (48, 64), seed=3)
    out = predicted(stream, [*small, *large])
    assert [result.is_key for result in out] == [True, False, False] * 2
    assert [tuple(result.semantic_map.shape) for result in out] == [(40, 56)] * 3 + [(48, 64)] * 3
    alone = predicted(stream, large)
    assert all(torch.equal(a.semantic_map, b.semantic_map) for a, b in zip(out[3:], alone, strict=True))


class FakeClock:
    """Clock that advances only in the networks: 30 ms for the segmentor, 10 ms for a propagation."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def stream(self, scheduler: KeyFrameScheduler, mode: Mode = "online", fuse_keys: bool = False) -> StreamingSegmentor:
        stream = StreamingSegmentor(tiny_propagator("copy"), scheduler, clock=self, mode=mode, fuse_keys=fuse_keys)
        segment, propagate = stream._segment, stream._propagate

        def timed_segment(image: Tensor) -> object:
            self.now += 0.030
            return segment(image)

        def timed_propagate(key: MaskPrediction, *given: object) -> object:
            self.now += 0.010 * len(key.queries)
            return propagate(key, *given)  # type: ignore[arg-type]

        stream._segment, stream._propagate = timed_segment, timed_propagate  # type: ignore[assignment]
        return stream


@pytest.mark.parametrize("driver", ["predict_video", "step"])
def test_a_budget_in_milliseconds_follows_the_measured_times(driver: str) -> None:
    # The initial costs are too high and would allow one key frame in 47.
    budget = Budget(ms=14.0, weight=0.0).with_costs(StepCosts(key=60.0, nonkey=13.0))
    stream, images = FakeClock().stream(budget), frames(27)
    if driver == "step":
        state: KeyFrameState | None = None
        ages = []
        for image in images:
            _, state = stream.step(image[None], state)
            ages.append(state.age)
        keys = [number for number, age in enumerate(ages) if age == 0]
    else:
        reported: list[PredictionProgress] = []
        out = predicted(stream, images, progress=reported.append)
        keys = [number for number, result in enumerate(out) if result.is_key]
        assert reported[-1].milliseconds == pytest.approx((6 * 30 + 21 * 10) / 27) == 1e3 * sum(r.seconds for r in out) / 27
    assert keys == [0, 6, 11, 16, 21, 26]


@pytest.mark.parametrize(("fuse_keys", "keys"), [(False, (30, 30, 30)), (True, (40, 50, 40))])
def test_the_time_of_an_offline_frame_is_that_of_its_own_key_frames(fuse_keys: bool, keys: tuple[int, ...]) -> None:
    stream = FakeClock().stream(FixedInterval(4), "offline", fuse_keys)
    times = [1e3 * result.seconds for result in predicted(stream, LONG[:11])]
    assert times == pytest.approx([keys[0], 20, 20, 20, keys[1], 20, 20, 20, keys[2], 10, 10])


def test_an_offline_budget_in_milliseconds_pays_for_both_flows() -> None:
    budget = Budget(ms=24.0, weight=0.0).with_costs(StepCosts(key=60.0, nonkey=13.0))
    out = predicted(FakeClock().stream(budget, "offline"), frames(40))
    keys = [number for number, result in enumerate(out) if result.is_key]
    # 24 ms pay for a key frame of 30 ms in 2.5 frames where the others take 20 ms each.
    assert [after - before for before, after in pairwise(keys[-8:])].count(3) in (3, 4) and max(keys) >= 37


def test_progress_counts_frames_key_frames_and_seconds() -> None:
    reported: list[PredictionProgress] = []
    predicted(StreamingSegmentor(tiny_propagator("copy"), FixedInterval(2)), frames(5), progress=reported.append)
    assert [done.frames for done in reported] == [1, 2, 3, 4, 5] and reported[-1].key_frames == 3
    assert reported[-1].position == pytest.approx(0.5) and reported[-1].key_share == 0.6 and reported[-1].fps > 0
    assert PredictionProgress(0, 0, 0.0, 0.0).fps == 0 == PredictionProgress(0, 0, 0.0, 0.0).key_share


def test_every_frame_has_a_time_and_every_key_frame_a_reason() -> None:
    started = time.perf_counter()
    found = predicted(StreamingSegmentor(tiny_propagator("copy"), FixedInterval(3)), frames(5))
    assert [result.reason for result in found] == ["first", None, None, "interval", None]
    assert all(result.seconds > 0 for result in found)
    assert sum(result.seconds for result in found) < time.perf_counter() - started


def test_a_prediction_can_be_stopped_and_limited() -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(2))
    assert len(predicted(stream, frames(6), max_frames=4)) == 4 and len(predicted(stream, frames(2), max_frames=4)) == 2
    stop = threading.Event()
    out = predicted(stream, frames(9), stop=stop, progress=lambda done: stop.set() if done.frames == 3 else None)
    assert len(out) == 3


def test_interleaved_predictions_are_independent() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(3))
    clips = [frames(6), frames(6, seed=7)]
    apart = [predicted(stream, clip) for clip in clips]
    together: list[list[FramePrediction]] = [[], []]
    threads = [threading.Thread(target=lambda i=i: together[i].extend(predicted(stream, clips[i]))) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for alone, beside in zip(apart, together, strict=True):
        assert all(torch.equal(a.semantic_map, b.semantic_map) for a, b in zip(alone, beside, strict=True))


def test_more_than_256_classes_are_stored_exactly() -> None:
    stream = StreamingSegmentor(Propagator(tiny_segmentor(300), CopyFlow()), FixedInterval(2))
    clip = frames(2)
    out = predicted(stream, clip)
    assert all(torch.equal(a.semantic_map.long(), b) for a, b in zip(out, stream.stream(clip), strict=True))
