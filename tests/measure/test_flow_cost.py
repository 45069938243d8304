import pytest
import torch

from src.measure.counting import count_multiply_adds
from src.measure.flow_cost import FlowCost, cost_rows, flow_cost
from src.models.flow import CopyFlow, CorrelationFlow, DISFlow, QueryFlow, RAFTFlow


def test_the_estimator_has_the_cost_of_the_paper() -> None:
    """15.74 GFLOPs with the warp of 100 masks, which are 100 * 120 * 216 * 4 multiply-adds."""
    with torch.device("meta"):
        flow = QueryFlow()
    cost = flow_cost(flow, (100, 256), (480, 853))
    assert cost.gflops is not None
    assert cost.gflops + 100 * 120 * 216 * 4e-9 == pytest.approx(15.74, rel=5e-3)
    assert cost.params_m == pytest.approx(40.085, abs=1e-3)


def test_an_extra_convolution_adds_its_multiply_adds() -> None:
    """Each update of RAFT runs the same layers again."""
    costs = [flow_cost(RAFTFlow(num_updates=n), (1, 1), (128, 128)).gflops for n in (1, 2, 3)]
    assert costs[1] - costs[0] == pytest.approx(costs[2] - costs[1]) and costs[1] > costs[0] > 0  # type: ignore[operator]


def test_work_outside_torch_is_not_counted() -> None:
    assert flow_cost(CopyFlow(), (1, 1), (64, 64)) == FlowCost(0.0, 0.0)
    assert flow_cost(DISFlow(), (1, 1), (64, 64)) == FlowCost(None, 0.0)


def test_rows_have_times_of_the_calls() -> None:
    calls: list[str] = []
    costs = {"a": FlowCost(1.0, 2.0), "b": FlowCost(None, 0.0)}
    rows = cost_rows(costs, {name: lambda name=name: calls.append(name) for name in costs}, 3, "cpu")  # type: ignore[misc]
    # One untimed call each, and all in turn.
    assert calls == ["a", "b"] * 4
    assert (rows["a"]["gflops"], rows["a"]["params_m"], rows["b"]["gflops"]) == (1.0, 2.0, None)
    assert rows["a"]["ms"] > 0 and rows["a"]["threads"] == torch.get_num_threads()
    assert cost_rows(costs, {}, 0, "cpu")["a"]["ms"] is None


def test_cached_key_features_are_not_counted() -> None:
    flow = CorrelationFlow(detail_dim=8)
    cost = flow_cost(flow, (3, 16), (64, 96))
    image = torch.zeros(1, 3, 64, 96)
    _, whole = count_multiply_adds(lambda: flow.with_detail(flow(image, image, torch.zeros(1, 3, 16))))
    _, key = count_multiply_adds(lambda: flow.encode_key(image))
    assert cost.gflops == pytest.approx((whole - key) / 1e9) and key > 0.2 * whole
