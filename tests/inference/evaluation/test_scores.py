import math

import pytest
import torch

from src.inference.evaluation.fusing import PLAIN
from src.inference.evaluation.scores import EvaluationResult, Scores, StepTimes
from src.metrics.iou import MeanIoU
from src.metrics.temporal_consistency import TemporalConsistency
from src.metrics.video_consistency import VideoConsistency
from src.structures import IGNORE_INDEX


def frames(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (1, 6, 8), generator=generator).repeat(count, 1, 1)
    flicker = torch.rand(2, *label.shape, generator=generator) < 0.05
    return torch.where(flicker[0], 3, label), torch.where(flicker[1], IGNORE_INDEX, label)


def scored(clips: list[tuple[torch.Tensor, torch.Tensor]]) -> EvaluationResult:
    scores = Scores(5)
    for prediction, label in clips:
        for number, pair in enumerate(zip(prediction, label, strict=True)):
            scores.add_frame(*pair, number % 3)
        scores.end_sequence()
    scores.end_run()
    return scores.result(sum(len(label) for _, label in clips))


def test_every_figure_is_that_of_its_metric() -> None:
    clips = [frames(20, 1), frames(17, 2)]
    result = scored(clips)
    iou, reference = MeanIoU(5), MeanIoU(5, protocol="reference")
    for pair in clips:
        iou.update(*pair)
        reference.update(*pair)
    figures = iou.compute()
    assert (result.miou, result.wiou) == (figures["miou"], figures["wiou"])
    assert result.miou_reference == reference.compute()["miou"] < result.miou
    assert torch.equal(result.confusion, iou.confusion)
    for found, protocol in ((result.video_consistency, "official"), (result.strict_video_consistency, "strict")):
        for window in (8, 16):
            metric = VideoConsistency(window, protocol)
            for pair in clips:
                metric.update(*pair)
            assert found[window] == metric.compute()
    assert math.isnan(result.temporal_consistency) and result.frames_by_offset == {0: 13, 1: 13, 2: 11}
    for offset, miou in result.miou_by_offset.items():
        apart = MeanIoU(5)
        for prediction, label in clips:
            apart.update(prediction[offset::3], label[offset::3])
        assert miou == apart.compute()["miou"]


def test_regions_are_scored_apart() -> None:
    scores = Scores(5)
    label = torch.zeros(4, 20, dtype=torch.int64)
    label[:, 10:] = 1
    lost = torch.arange(20) < 4
    prediction = label.clone()
    prediction[:, 2] = 1  # disoccluded
    prediction[:, 8] = 1  # at the border
    scores.add_frame(prediction, label, 1, 1, lost.expand(4, 20))
    scores.end_run()
    result = scores.result(1)
    assert result.miou_disoccluded == 3 / 4
    assert result.miou_border == pytest.approx((2 / 3 + 3 / 4) / 2)  # columns 7..12
    assert result.miou_by_position == result.miou_by_offset == {1: result.miou} and result.frames_by_position == {1: 1}
    assert math.isnan(scored([frames(3, 1)]).miou_disoccluded) and scored([frames(3, 1)]).miou_by_position == {}


def test_runs_are_averaged_and_their_pixels_added() -> None:
    first, second = [frames(9, 1)], [frames(9, 2)]
    apart = [scored(first), scored(second)]
    scores = Scores(5)
    for clips in (first, second):
        scores.start_run()
        for pair in zip(*clips[0], strict=True):
            scores.add_frame(*pair, 0)
        scores.end_sequence()
        agreement = TemporalConsistency()
        agreement.agreeing, agreement.visible = torch.tensor(1 if clips is first else 3), torch.tensor(4)
        scores.end_run(agreement)
    both = scores.result(9)
    assert both.miou == pytest.approx((apart[0].miou + apart[1].miou) / 2)
    assert both.video_consistency[8] == pytest.approx((apart[0].video_consistency[8] + apart[1].video_consistency[8]) / 2)
    assert both.temporal_consistency == 0.5 and (both.runs, both.frames) == (2, 9)
    assert torch.equal(both.confusion, apart[0].confusion + apart[1].confusion)


def test_step_times_are_in_milliseconds() -> None:
    assert StepTimes.of([0.5, 1.0, 3.0]) == StepTimes(1000.0, 1500.0, 3000.0, 3)
    scores = Scores(5)
    scores.add_time(0.1, PLAIN.kinds[0])
    scores.add_time(0.02, PLAIN.kinds[1])
    scores.end_run()
    result = scores.result(0)
    assert result.mean_ms(5) == pytest.approx((100 + 4 * 20) / 5)
    assert result.mean_ms(None) == pytest.approx((100 + 20) / 2) and result.key_share == 0.5
