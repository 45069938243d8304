"""Deviations are relative to the masks, and near ties are no different labels."""

from dataclasses import replace

import pytest
import torch

from src.inference.runtime.parity import compare, tolerance
from src.structures import MaskPrediction


def prediction(logit: float) -> MaskPrediction:
    """Two queries of two classes; the second is ``logit`` everywhere, the first 1."""
    masks = torch.ones(1, 1, 2, 8, 8)
    masks[:, :, 1] = logit
    classes = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])[None, None]
    return MaskPrediction(classes, masks, torch.zeros(1, 2, 4), (32, 32), (32, 32))


def test_equal_predictions_do_not_deviate() -> None:
    found = compare(prediction(2.0), prediction(2.0), 1e-4)
    assert found.is_within and found.masks == found.different == 0


def test_near_ties_may_differ_and_clear_pixels_may_not() -> None:
    tie = compare(prediction(1.0001), prediction(0.9999), 1e-3)
    assert tie.different == 1 and tie.labels == 0 and tie.is_within
    clear = compare(prediction(2.0), prediction(0.5), 0.9)
    assert clear.different == 1
    far = compare(prediction(4.0), prediction(-4.0), 1e-2)
    assert far.labels == 1 and not far.is_within and "labels on 100.000%" in str(far)


def test_nan_is_a_deviation() -> None:
    broken = replace(prediction(2.0), mask_logits_per_layer=torch.full((1, 1, 2, 8, 8), float("nan")))
    assert not compare(broken, prediction(2.0), 1e-4).is_within


@pytest.mark.parametrize(("autocast", "expected"), [(None, 1e-4), (torch.bfloat16, 5e-2)])
def test_half_precision_may_deviate_more(autocast: torch.dtype | None, expected: float) -> None:
    assert tolerance(autocast, torch.device("cpu")) == expected
