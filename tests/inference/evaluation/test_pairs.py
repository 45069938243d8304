"""Law of the pairs: an offset scores the frame that a stream predicts with its key frame as many frames before."""

import math

import pytest

from src.inference.evaluation.clips import EvaluationOptions, evaluate_clips
from src.inference.evaluation.pairs import evaluate_pairs
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.metrics.iou import MeanIoU
from src.structures import Clip
from tests.inference.tiny import FakeClips, tiny_propagator


def test_an_offset_scores_the_stream_from_its_key_frame() -> None:
    """One label per snippet, at different places in it, the last snippet too short for the largest offset."""
    interval, data, propagator = 4, FakeClips((8, 6, 4)), tiny_propagator()
    places = (6, 5, 2)
    for number, frame in enumerate(places):
        clip = data.clips[number]
        data.clips[number] = Clip(clip.name, clip.images, tuple(p if t == frame else None for t, p in enumerate(clip.labels)))
    calls: list[tuple[int, int]] = []
    stream = StreamingSegmentor(propagator, FixedInterval(interval))
    result = evaluate_pairs(stream, data, interval, lambda done, total: calls.append((done, total)))
    expected = {}
    for offset in range(interval):
        iou = MeanIoU(data.num_classes)
        for number, frame in enumerate(places):
            if frame >= offset:
                *_, last = stream.stream(data.images[number][frame - offset : frame + 1])
                iou.update(last, data.read_label(number, frame))
        expected[offset] = float(iou.compute()["miou"])
    assert result.miou_by_offset == pytest.approx(expected)
    assert result.miou == pytest.approx(sum(expected.values()) / interval)
    assert result.frames_by_offset == {0: 3, 1: 3, 2: 3, 3: 2}
    assert (result.frames, result.runs) == (3, 4) and calls[-1] == (11, 11)
    assert (result.key_times.frames, result.nonkey_times.frames) == (3, 8)
    assert math.isnan(result.video_consistency[8])
    same = evaluate_clips(propagator, data, interval, EvaluationOptions(protocol="pairs"))
    assert (same.miou, same.miou_by_offset) == (result.miou, result.miou_by_offset)


def test_an_offset_without_any_label_is_refused() -> None:
    with pytest.raises(ValueError, match="no labelled frame has 4 frames before it \\(at most 2\\)"):
        evaluate_clips(tiny_propagator("copy"), FakeClips((3,)), 5, EvaluationOptions(protocol="pairs"))
