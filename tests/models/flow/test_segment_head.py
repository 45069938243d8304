import pytest
import torch
import torch.nn.functional as F

from src.models.flow import segment_head
from src.models.flow.segment_head import FlowFusion, SegmentFlowHead


def test_x_is_the_product_with_the_second_half_of_the_map_y_with_the_first() -> None:
    head = SegmentFlowHead(hidden_dim=8, feature_channels=6, mlp_dim=10)
    queries, features = torch.randn(2, 3, 8), torch.randn(2, 6, 4, 5)
    flow = head(queries, features)
    embedded, maps = head.query_mlp(head.query_norm(queries)), head.motion_map(features)
    for b, q, row, column in [(0, 0, 0, 0), (1, 2, 3, 1), (1, 0, 2, 4)]:
        place = maps[b, row, column]
        torch.testing.assert_close(flow[b, q, 0, row, column], embedded[b, q] @ place[8:])
        torch.testing.assert_close(flow[b, q, 1, row, column], embedded[b, q] @ place[:8])


def test_folding_the_last_layer_into_the_queries_keeps_the_flow(monkeypatch) -> None:
    monkeypatch.setattr(segment_head, "_BLOCK", 7)
    head = SegmentFlowHead(hidden_dim=8, feature_channels=6, mlp_dim=10)
    torch.nn.init.normal_(head.map_mlp[-1].bias)
    queries, features = torch.randn(2, 3, 8), torch.randn(2, 6, 4, 5)
    with torch.no_grad():
        plain = head(queries, features)
    with torch.inference_mode():
        folded = head(queries, features)
    torch.testing.assert_close(folded, plain, atol=1e-5, rtol=1e-5)


def test_initial_query_flow_is_small_but_not_zero() -> None:
    flow = SegmentFlowHead(256, 128, 512)(torch.randn(1, 20, 256), torch.randn(1, 128, 8, 8))
    assert 1e-3 < flow.std() < 0.1


def test_fusion_equals_a_convolution_of_both_flows() -> None:
    fuse = FlowFusion()
    torch.nn.init.normal_(fuse.conv.weight)
    torch.nn.init.normal_(fuse.conv.bias)
    pixel, query = torch.randn(2, 2, 6, 7), torch.randn(2, 3, 2, 6, 7)
    both = torch.cat((pixel[:, None].expand_as(query), query), dim=2)
    plain = F.conv2d(both.flatten(0, 1), fuse.conv.weight, fuse.conv.bias, padding=1).unflatten(0, (2, 3))
    torch.testing.assert_close(fuse(pixel, query), plain, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(fuse(pixel, query), plain, atol=1e-5, rtol=1e-5)


def test_the_reference_initialisation_is_a_flow_of_one_everywhere() -> None:
    flow = FlowFusion("reference")(torch.randn(2, 2, 6, 7), torch.randn(2, 3, 2, 6, 7))
    assert (flow == 1).all()


def test_the_default_initialisation_is_the_sum_of_both_flows() -> None:
    pixel, query = torch.randn(2, 2, 6, 7), torch.randn(2, 3, 2, 6, 7)
    torch.testing.assert_close(FlowFusion("pixel")(pixel, query), pixel[:, None] + query)


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'pixel' or 'reference'"):
        FlowFusion("zero")  # type: ignore[arg-type]
