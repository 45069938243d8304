"""Laws of the IoU by offset to the key frame."""

import pytest
import torch

from src.metrics.iou import MeanIoU
from src.metrics.offset_iou import IoUByOffset
from src.structures import IGNORE_INDEX


def test_every_offset_is_a_mean_iou_of_its_own_frames() -> None:
    metric, apart = IoUByOffset(4, 3), [MeanIoU(4) for _ in range(3)]
    for frame in range(9):
        prediction, label = torch.randint(0, 4, (2, 6, 7))
        label[:2] = IGNORE_INDEX
        metric.update(prediction, label, frame % 3)
        apart[frame % 3].update(prediction, label)
    figures, expected = metric.compute(), [one.compute() for one in apart]
    assert figures["miou_by_offset"].tolist() == [one["miou"].item() for one in expected]
    assert figures["wiou_by_offset"].tolist() == [one["wiou"].item() for one in expected]
    assert torch.equal(figures["iou_per_class_by_offset"], torch.stack([one["iou_per_class"] for one in expected]))
    assert metric.frames.tolist() == [3, 3, 3]


def test_mean_and_minimum_are_over_the_offsets_that_were_seen() -> None:
    metric = IoUByOffset(2, 3)
    label = torch.tensor([[0, 0, 1, 1]])
    metric.update(label, label, 0)
    metric.update(torch.tensor([[0, 1, 1, 1]]), label, 2)
    figures = metric.compute()
    assert figures["miou_by_offset"][0] == 1 and figures["miou_by_offset"][1].isnan()
    worse = (1 / 2 + 2 / 3) / 2
    assert figures["miou_min"].item() == pytest.approx(worse) and figures["miou_mean"].item() == pytest.approx((1 + worse) / 2)


def test_it_is_not_the_iou_of_all_offsets_together() -> None:
    metric, together = IoUByOffset(2, 2), MeanIoU(2)
    for offset, prediction in enumerate(([[0, 0, 1, 1]], [[1, 1, 1, 1]])):
        metric.update(torch.tensor(prediction), torch.tensor([[0, 0, 1, 1]]), offset)
        together.update(torch.tensor(prediction), torch.tensor([[0, 0, 1, 1]]))
    assert metric.compute()["miou_mean"].item() == pytest.approx((1 + 1 / 4) / 2)
    assert together.compute()["miou"].item() == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_seen_is_nan() -> None:
    assert all(value.isnan().all() for value in IoUByOffset(3, 2).compute().values())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"offset=5; expected 0\.\.4"):
        IoUByOffset(3, 5).update(torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), 5)
    with pytest.raises(ValueError, match=r"expected 0\.\.2"):
        IoUByOffset(3, 5).update(torch.full((2, 2), 3), torch.zeros(2, 2).long(), 0)
    with pytest.raises(ValueError, match="num_offsets=0"):
        IoUByOffset(3, 0)
    with pytest.raises(ValueError, match="protocol='strict'"):
        IoUByOffset(3, 5, protocol="strict")
