"""Laws of the visibility loss: the true confidence costs least, and pairs without known flow count nothing."""

import pytest
import torch
from torch import Tensor

from src.losses.visibility import VisibilityLoss
from src.structures import FlowPrediction

HIDDEN = torch.nan


def flow_with(confidence: Tensor | None) -> FlowPrediction:
    batch = 1 if confidence is None else len(confidence)
    return FlowPrediction(torch.zeros(batch, 1, 2, 8, 16), (), (32, 64), confidence)


def target() -> Tensor:
    """(1, 2, 30, 60) without motion; occluded from column 32 on, and the first four columns point out of the key frame."""
    flow = torch.zeros(1, 2, 30, 60)
    flow[..., 32:] = HIDDEN
    flow[:, 0, :, :4] = -9.0
    return flow


def truth() -> Tensor:
    confidence = torch.zeros(1, 1, 8, 16)
    confidence[..., 1:8] = 1.0
    return confidence


def loss_of(confidence: Tensor, known: Tensor | None = None) -> float:
    return float(VisibilityLoss(1.0)(flow_with(confidence), target() if known is None else known)["visibility"])


def test_the_true_confidence_costs_nothing_and_every_change_more() -> None:
    best = loss_of(truth())
    assert best < 1e-3
    for column in (0, 3, 7, 8, 14):
        other = truth()
        other[..., column] = 0.5
        assert loss_of(other) > best + 0.01


def test_padding_and_pairs_without_known_flow_do_not_count() -> None:
    padded = truth()
    padded[..., 15] = 1.0  # columns 60 to 63 are padding
    assert loss_of(padded) == loss_of(truth())
    unknown = torch.full((1, 2, 30, 60), HIDDEN)
    assert loss_of(torch.rand(1, 1, 8, 16), unknown) == 0
    both = torch.cat((truth(), torch.rand(1, 1, 8, 16)))
    assert loss_of(both, torch.cat((target(), unknown))) == pytest.approx(loss_of(truth()))


def test_the_weight_scales_and_the_gradient_points_to_the_truth() -> None:
    confidence = torch.full((1, 1, 8, 16), 0.5, requires_grad=True)
    one, three = (VisibilityLoss(weight)(flow_with(confidence), target())["visibility"] for weight in (1.0, 3.0))
    torch.testing.assert_close(three, 3 * one)
    (gradient,) = torch.autograd.grad(one, confidence)
    assert (gradient[..., 1:8] < 0).all() and (gradient[..., 9:15] > 0).all()


def test_an_estimator_without_confidence_is_refused() -> None:
    with pytest.raises(ValueError, match="no confidence"):
        VisibilityLoss()(flow_with(None), target())
    with pytest.raises(ValueError, match="weight is -1"):
        VisibilityLoss(-1)
