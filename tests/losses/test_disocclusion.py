"""Laws of the disocclusion loss: correct classes cost least, ignored pixels nothing, disoccluded ones more."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.losses.disocclusion import DisocclusionLoss
from src.structures import IGNORE_INDEX, FlowPrediction


def flow_with(logits: Tensor | None, confidence: Tensor | None = None) -> FlowPrediction:
    confidence = torch.ones(1, 1, 8, 8) if confidence is None else confidence
    return FlowPrediction(torch.zeros(1, 1, 2, 8, 8), (), (32, 32), confidence, logits)


def label() -> Tensor:
    classes = torch.zeros(1, 28, 32, dtype=torch.int64)
    classes[..., 16:] = 2
    return classes


def logits(classes: int = 3) -> Tensor:
    return 20.0 * F.one_hot(label()[:, 4::8, 4::8], classes).permute(0, 3, 1, 2).float()[:, :, [0, 1, 2, 2]]


def loss_of(values: Tensor, confidence: Tensor | None = None, classes: Tensor | None = None) -> float:
    return float(DisocclusionLoss(1.0)(flow_with(values, confidence), label() if classes is None else classes)["disocclusion"])


def test_the_right_classes_cost_least() -> None:
    assert loss_of(logits()) < 0.2 < loss_of(0 * logits()) < loss_of(-logits())


def test_ignored_pixels_have_no_gradient_and_an_unlabelled_frame_costs_nothing() -> None:
    values, classes = torch.randn(1, 3, 4, 4, requires_grad=True), label()
    classes[..., 16:] = IGNORE_INDEX
    loss = DisocclusionLoss()(flow_with(values), classes)["disocclusion"]
    (gradient,) = torch.autograd.grad(loss, values)
    # Enlarging is linear: the third column of the grid still reaches into the labelled half.
    assert gradient[..., :3].abs().sum() > 0 and gradient[..., 3].abs().sum() == 0
    assert loss_of(torch.randn(1, 3, 4, 4), classes=torch.full((1, 28, 32), IGNORE_INDEX)) == 0


def test_a_mistake_costs_more_where_the_pixel_is_disoccluded() -> None:
    wrong = logits()
    wrong[..., 0] = wrong[..., 0].flip(1)
    confidence = torch.ones(1, 1, 8, 8)
    confidence[..., :2] = 0
    assert loss_of(wrong, confidence) > 1.5 * loss_of(wrong)


def test_estimators_without_the_head_are_refused() -> None:
    with pytest.raises(ValueError, match="no disocclusion logits"):
        DisocclusionLoss()(flow_with(None), label())
    with pytest.raises(ValueError, match="weight is -1"):
        DisocclusionLoss(-1)
