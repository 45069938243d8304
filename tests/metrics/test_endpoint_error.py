"""Laws of the end-point error."""

import pytest
import torch
from kornia.metrics import aepe

from src.metrics.endpoint_error import EndPointError


def test_hand_computed_case() -> None:
    """Errors of 5 (an outlier), 4 at a vector of 100 px (not one: 4 %), 1, and an unknown pixel."""
    target = torch.tensor([[[0.0, 100.0, 1.0, torch.nan]], [[0.0, 0.0, 1.0, 0.0]]])
    flow = torch.tensor([[[3.0, 104.0, 1.0, 9.0]], [[4.0, 0.0, 2.0, 9.0]]])
    metric = EndPointError()
    metric.update(flow[None], target[None])
    figures = metric.compute()
    assert figures["epe"].item() == pytest.approx(10 / 3)
    assert figures["outlier_rate"].item() == pytest.approx(1 / 3)


def test_known_pixels_agree_with_kornia() -> None:
    target = 10 * torch.randn(2, 2, 5, 6, dtype=torch.float64)
    flow = target + 3 * torch.randn_like(target)
    target[0, :, :2] = torch.nan
    known = target.isfinite().all(1)
    metric = EndPointError()
    metric.update(flow, target)
    expected = aepe(flow.permute(0, 2, 3, 1)[known], target.permute(0, 2, 3, 1)[known])
    torch.testing.assert_close(metric.compute()["epe"], expected)


def test_exact_flow_is_exact_and_splitting_changes_nothing() -> None:
    target = 10 * torch.randn(4, 2, 5, 6)
    flow = target + 3 * torch.randn_like(target)
    target[:, :, :2] = torch.nan
    whole, parts = EndPointError(), EndPointError()
    whole.update(flow, target)
    parts.update(flow[:1], target[:1])
    parts.update(flow[1:], target[1:])
    for name, value in whole.compute().items():
        assert value.item() == pytest.approx(parts.compute()[name].item(), abs=1e-12)
    assert 0 < whole.compute()["outlier_rate"] < 1
    whole.reset()
    whole.update(target.nan_to_num(), target)
    assert all(value == 0 for value in whole.compute().values())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_known_pixels_is_nan() -> None:
    metric = EndPointError()
    assert all(value.isnan() for value in metric.compute().values())
    metric.update(torch.zeros(1, 2, 3, 3), torch.full((1, 2, 3, 3), torch.nan))
    assert all(value.isnan() for value in metric.compute().values())


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"flow \(1, 2, 3, 3\) and target \(1, 2, 3, 4\)"):
        EndPointError().update(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))
    flow = torch.zeros(1, 2, 3, 3)
    flow[0, 1, 2, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite at 1 of 9 known pixels"):
        EndPointError().update(flow, torch.zeros(1, 2, 3, 3))
