"""Laws of intersection over union."""

import json
from pathlib import Path

import pytest
import torch

from src.metrics.iou import MeanIoU
from src.structures import IGNORE_INDEX
from tests.metrics.golden import golden_clips

VOID = IGNORE_INDEX


def test_hand_computed_case() -> None:
    metric = MeanIoU(4)
    label = torch.tensor([[0, 0, 0, 1], [1, 1, VOID, VOID]])
    prediction = torch.tensor([[0, 0, 1, 1], [1, 2, 0, 3]])
    metric.update(prediction, label)
    figures = metric.compute()
    iou = [2 / 3, 2 / 4]
    torch.testing.assert_close(figures["iou_per_class"][:2], torch.tensor(iou, dtype=torch.float64))
    assert figures["iou_per_class"][2:].isnan().all()
    assert figures["miou"].item() == pytest.approx(sum(iou) / 2)
    assert figures["wiou"].item() == pytest.approx((3 * iou[0] + 3 * iou[1]) / 6)


def test_reference_protocol_counts_classes_that_were_only_predicted() -> None:
    metric = MeanIoU(4, protocol="reference")
    metric.update(torch.tensor([[0, 0, 1, 1], [1, 2, 0, 3]]), torch.tensor([[0, 0, 0, 1], [1, 1, VOID, VOID]]))
    figures = metric.compute()
    assert figures["miou"].item() == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert figures["iou_per_class"][2] == 0 and figures["iou_per_class"][3].isnan()


def test_perfect_prediction_scores_one_and_void_is_free() -> None:
    label = torch.randint(0, 5, (3, 8, 8))
    prediction = label.clone()
    label[:, :2] = VOID
    prediction[:, :2] = 0
    metric = MeanIoU(5)
    metric.update(prediction, label)
    assert metric.compute()["miou"] == 1 and metric.compute()["wiou"] == 1


def test_splitting_the_frames_differently_changes_nothing() -> None:
    prediction, label = torch.randint(0, 5, (2, 6, 8, 8))
    whole, parts, last = MeanIoU(5), MeanIoU(5), MeanIoU(5)
    whole.update(prediction, label)
    parts.update(prediction[:1], label[:1])
    last.update(prediction[1:], label[1:])
    parts.confusion += last.confusion  # what summing over ranks does
    assert all(torch.equal(whole.compute()[name], parts.compute()[name]) for name in whole.compute())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_pixels_is_nan() -> None:
    metric = MeanIoU(3)
    assert all(value.isnan().all() for value in metric.compute().values())
    metric.update(torch.zeros(4, 4).long(), torch.full((4, 4), VOID))
    assert all(value.isnan().all() for value in metric.compute().values())


def test_vspw_goldens(goldens: Path) -> None:
    expected = json.loads((goldens / "metrics" / "vspw_metrics.json").read_text())
    metric, reference = MeanIoU(124), MeanIoU(124, protocol="reference")
    for clip in golden_clips(goldens):
        if len(clip.label) > 16:
            metric.update(clip.prediction, clip.label)
            reference.update(clip.prediction, clip.label)
    figures = metric.compute()
    assert figures["miou"].item() == pytest.approx(expected["miou"], abs=1e-12)
    assert figures["wiou"].item() == pytest.approx(expected["wiou"], abs=1e-12)
    # Six classes have labels, six more are predicted only: there the two protocols differ by a factor of two.
    assert reference.compute()["miou"].item() == pytest.approx(expected["miou"] / 2, abs=1e-12)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="protocol='official'"):
        MeanIoU(5, protocol="official")
    with pytest.raises(ValueError, match="num_classes=256"):
        MeanIoU(256)
    with pytest.raises(ValueError, match=r"expected 0\.\.4"):
        MeanIoU(5).update(torch.full((2, 2), 5), torch.zeros(2, 2).long())


def test_void_is_the_background_of_a_single_class() -> None:
    label = torch.tensor([[0, 0, 0, VOID, VOID, VOID]])
    for protocol in ("present_in_label", "reference"):
        metric = MeanIoU(1, protocol)
        metric.update(torch.tensor([[0, 0, VOID, 0, VOID, VOID]]), label)
        assert metric.compute()["miou"] == 2 / 4 and metric.compute()["iou_per_class"] == 0.5
        assert metric.compute()["wiou"] == 0.5
        everything = MeanIoU(1, protocol)
        everything.update(torch.zeros_like(label), label)
        assert everything.compute()["miou"] == 0.5
    for classes in (2, 255):
        with pytest.raises(ValueError, match="prediction has values"):
            MeanIoU(classes).update(torch.full_like(label, VOID), label)
