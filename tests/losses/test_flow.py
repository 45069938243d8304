"""Laws of the end-point errors that pretrain a flow estimator."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from src.losses.flow import FlowLoss, resize_known_flow
from src.structures import FlowPrediction, MaskPrediction

PADDED = (32, 64)
GRIDS = ((1, 2), (2, 4), (4, 8))
QUERIES = 3


def constant(vector: tuple[float, float], size: tuple[int, int]) -> Tensor:
    return torch.tensor(vector).view(1, 2, 1, 1).expand(1, 2, *size).clone()


def prediction_of(vector: tuple[float, float], offset: tuple[float, float] = (0, 0)) -> FlowPrediction:
    """A constant flow of ``vector + offset`` pixels of the image, at every scale and for every query."""
    flows = []
    for height, width in GRIDS:
        dx, dy = vector[0] + offset[0], vector[1] + offset[1]
        flows.append(constant((dx * width / PADDED[1], dy * height / PADDED[0]), (height, width)))
    return FlowPrediction(flows[-1][:, None].expand(-1, QUERIES, -1, -1, -1).clone(), tuple(flows), PADDED)


def key_of(masks: Tensor, no_object: tuple[int, ...] = ()) -> MaskPrediction:
    """Queries that are objects with certainty, except the given ones; masks (Q, h, w) 0 or 1."""
    class_logits = torch.zeros(1, 1, len(masks), 3)
    class_logits[..., 0] = 40
    for query in no_object:
        class_logits[..., query, :] = torch.tensor([0.0, 0.0, 40.0])
    mask_logits = 40 * (2 * masks[None, None].float() - 1)
    return MaskPrediction(class_logits, mask_logits, torch.zeros(1, len(masks), 4), PADDED, PADDED)


def stripes() -> Tensor:
    """The left half, the right half, and nothing, on the grid of 8x16."""
    masks = torch.zeros(QUERIES, 8, 16)
    masks[0, :, :8] = 1
    masks[1, :, 8:] = 1
    return masks


def test_exact_flow_costs_nothing() -> None:
    terms = FlowLoss()(prediction_of((3.0, -2.0)), constant((3.0, -2.0), (30, 60)), key_of(stripes()))
    assert {name: value.item() for name, value in terms.items()} == {"pixel_flow": 0, "segment_flow": 0}


@pytest.mark.parametrize("offset", [(1.0, 0.0), (0.0, -1.0), (0.6, 0.8)])
@pytest.mark.parametrize("scale", range(3))
def test_one_pixel_off_costs_one_at_every_scale(offset: tuple[float, float], scale: int) -> None:
    weights = [0.0, 0.0, 0.0]
    weights[scale] = 0.3
    flow, target = prediction_of((3.0, -2.0), offset), constant((3.0, -2.0), PADDED)
    terms = FlowLoss(scale_weights=weights)(flow, target, key_of(stripes()))
    assert terms["pixel_flow"].item() == pytest.approx(1, rel=1e-5)
    assert terms["segment_flow"].item() == pytest.approx(1, rel=1e-5)


def test_scale_weights_start_at_the_finest_scale() -> None:
    flow = prediction_of((0.0, 0.0))
    flow.pixel_flows[-1][:] += 1  # 8 px of the image in either direction
    terms = FlowLoss(scale_weights=(3.0, 1.0, 0.0, 0.0))(flow, constant((0.0, 0.0), PADDED), key_of(stripes()))
    assert terms["pixel_flow"].item() == pytest.approx(0.75 * 8 * 2**0.5)


def test_detail_is_the_finest_scale_and_counts_in_pixels_of_the_image() -> None:
    flow = replace(prediction_of((3.0, -2.0)), detail=constant((0.6, 0.8), PADDED))
    target = constant((3.0, -2.0), PADDED)
    terms = FlowLoss(scale_weights=(0.25, 0.75, 0.0, 0.0))(flow, target, key_of(stripes()))
    assert terms["pixel_flow"].item() == pytest.approx(0.25, rel=1e-5)
    exact = FlowLoss(scale_weights=(0.25, 0.75, 0.0, 0.0))(flow, target + constant((0.6, 0.8), PADDED), key_of(stripes()))
    assert exact["pixel_flow"].item() == pytest.approx(0.75, rel=1e-5)
    with pytest.raises(ValueError, match="4 scales"):
        FlowLoss(scale_weights=(1.0, 1.0, 1.0))(flow, target, key_of(stripes()))


def test_unknown_pixels_change_nothing() -> None:
    target = constant((3.0, -2.0), PADDED)
    target[..., 32:] = torch.nan
    target[:, 1, :3, 5] = torch.nan  # one component is enough
    flow = prediction_of((3.0, -2.0), (1.0, 0.0))
    segment_flow = flow.segment_flow.requires_grad_()
    fine = flow.pixel_flows[-1].requires_grad_()
    terms = FlowLoss()(flow, target, key_of(stripes()))
    assert terms["pixel_flow"].item() == pytest.approx(1, rel=1e-5)
    assert terms["segment_flow"].item() == pytest.approx(1, rel=1e-5)
    for gradient in torch.autograd.grad(sum(terms.values()), (segment_flow, fine)):
        assert not gradient[..., 4:].any() and gradient[..., :4].any()


def test_unknown_flow_costs_nothing_and_has_zero_gradient() -> None:
    flow = prediction_of((3.0, -2.0), (1.0, 0.0))
    leaves = [flow.segment_flow.requires_grad_(), *(level.requires_grad_() for level in flow.pixel_flows)]
    terms = FlowLoss(exponent=0.4)(flow, torch.full((1, 2, 32, 64), torch.nan), key_of(stripes()))
    assert all(value == 0 for value in terms.values())
    gradients = torch.autograd.grad(sum(terms.values()), leaves)
    assert all(gradient.isfinite().all() and not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("exponent", [1.0, 0.4])
def test_exact_flow_has_finite_gradient(exponent: float) -> None:
    flow = prediction_of((0.0, 0.0))
    segment_flow = flow.segment_flow.requires_grad_()
    terms = FlowLoss(exponent=exponent)(flow, constant((0.0, 0.0), PADDED), key_of(stripes()))
    assert torch.autograd.grad(terms["segment_flow"], segment_flow)[0].isfinite().all()


def test_robust_error_counts_outliers_less() -> None:
    def cost(offset: float, exponent: float) -> float:
        flow, target = prediction_of((0.0, 0.0), (offset, 0.0)), constant((0.0, 0.0), PADDED)
        return FlowLoss(exponent=exponent)(flow, target, key_of(stripes()))["pixel_flow"].item()

    assert cost(10, 1.0) / cost(1, 1.0) == pytest.approx(10)
    assert cost(10, 0.4) / cost(1, 0.4) < 4


def test_each_query_counts_only_inside_its_segment() -> None:
    """The left half moves by 2 px, the right half by 8; each query is right in its own half and wrong elsewhere."""
    target = constant((0.0, 2.0), PADDED)
    target[..., 32:] = constant((0.0, 8.0), (32, 32))
    flow = prediction_of((0.0, 0.0))
    flow.segment_flow[:, 0] = constant((0.0, 2.0 / 8), (4, 8))
    flow.segment_flow[:, 1] = constant((0.0, 8.0 / 8), (4, 8))
    flow.segment_flow[:, 2] = 100  # has no pixels
    assert FlowLoss()(flow, target, key_of(stripes()))["segment_flow"].item() == pytest.approx(0, abs=1e-4)
    swapped = FlowPrediction(flow.segment_flow[:, [1, 0, 2]], flow.pixel_flows, PADDED)
    assert FlowLoss()(swapped, target, key_of(stripes()))["segment_flow"].item() == pytest.approx(6, rel=1e-4)


def test_segments_are_weighted_where_they_moved_to() -> None:
    """All moves right by 16 px, two cells: a segment of key cells 0..3 lies at 2..5, one of 4..7 at 6..9, half of it outside."""
    target = constant((-16.0, 0.0), PADDED)
    target[..., :16] = torch.nan  # came in from the left
    flow = prediction_of((0.0, 0.0))
    flow.segment_flow[:] = 50
    flow.segment_flow[:, 0, :, :, 2:6] = constant((-2.0, 0.0), (4, 4))
    flow.segment_flow[:, 1, :, :, 6:] = constant((-2.0, 0.0), (4, 2))
    assert FlowLoss()(flow, target, key_of(stripes()))["segment_flow"].item() == pytest.approx(0, abs=1e-4)


def test_small_segments_weigh_by_the_root_of_their_area_and_no_object_not_at_all() -> None:
    masks = torch.zeros(QUERIES, 8, 16)
    masks[0, :, :] = 1
    masks[1, :4, :4] = 1  # 16 of 8 x 16 cells
    masks[2, :, :] = 1
    flow = prediction_of((0.0, 0.0))
    flow.segment_flow[:, 1] = constant((1 / 8, 0.0), (4, 8))  # 1 px off
    flow.segment_flow[:, 2] = 50
    loss = FlowLoss()(flow, constant((0.0, 0.0), PADDED), key_of(masks, no_object=(2,)))["segment_flow"]
    root = (16 / 128) ** 0.5
    assert loss.item() == pytest.approx(root / (1 + root), rel=1e-4)


def test_segment_weights_give_the_segmentor_no_gradient() -> None:
    key = key_of(torch.rand(QUERIES, 8, 16))
    masks = key.mask_logits_per_layer.requires_grad_()
    flow = prediction_of((0.0, 0.0), (1.0, 1.0))
    segment_flow = flow.segment_flow.requires_grad_()
    loss = FlowLoss()(flow, constant((0.0, 0.0), PADDED), key)["segment_flow"]
    gradients = torch.autograd.grad(loss, (masks, segment_flow), allow_unused=True)
    assert gradients[0] is None and gradients[1].any()


def test_one_flow_for_all_segments_has_no_segment_term() -> None:
    flow = prediction_of((0.0, 0.0), (1.0, 0.0))
    single = FlowPrediction(flow.segment_flow[:, :1], flow.pixel_flows, PADDED)
    terms = FlowLoss()(single, constant((0.0, 0.0), PADDED), key_of(stripes()))
    assert terms["segment_flow"] == 0 and terms["pixel_flow"] > 0
    with pytest.raises(ValueError, match="expected a flow to supervise"):
        FlowLoss()(FlowPrediction(flow.segment_flow[:, :1], (), PADDED), constant((0.0, 0.0), PADDED), key_of(stripes()))


def test_resizing_averages_the_known_pixels() -> None:
    target = torch.tensor([[1.0, 3.0, 5.0, torch.nan], [torch.nan, 2.0, torch.nan, torch.nan]]).expand(1, 2, 2, 4)
    flow, known = resize_known_flow(target, (1, 2))
    assert known.tolist() == [[[1, 0]]]
    torch.testing.assert_close(flow[0, :, 0], torch.tensor([[2.0, 0.0]]).expand(2, 2))


def test_wrong_shapes_and_settings_are_refused() -> None:
    flow, target, key = prediction_of((0.0, 0.0)), constant((0.0, 0.0), PADDED), key_of(stripes())
    with pytest.raises(ValueError, match=r"scale_weights are \(1.0,\); expected one for each of 3 scales"):
        FlowLoss(scale_weights=(1.0,))(flow, target, key)
    with pytest.raises(ValueError, match=r"target is \(2, 2, 32, 64\) and segment_flow"):
        FlowLoss()(flow, target.expand(2, -1, -1, -1), key)
    with pytest.raises(ValueError, match=r"expected \(B, Q\) = .* of the key masks"):
        FlowLoss()(flow, target, key_of(torch.zeros(5, 8, 16)))
    with pytest.raises(ValueError, match="exponent 0"):
        FlowLoss(exponent=0)


def test_at_full_size_a_blurred_motion_boundary_costs() -> None:
    """Two motions meet within a cell: at the cell's own grid, their mean would be free of cost."""
    target = constant((0.0, 0.0), PADDED)
    target[..., 4:] = 8.0
    between = constant((0.0, 0.0), (4, 8))
    between[..., 1:], between[..., 0] = 1.0, 0.5  # of cells of 8 pixels
    flow = FlowPrediction(between[:, None], (between,), PADDED)
    own, full = (FlowLoss(full_size=full)(flow, target, None)["pixel_flow"] for full in (False, True))
    assert own == 0 and full > 0.1
    exact = FlowPrediction(target[:, None], (target,), PADDED)
    assert FlowLoss(full_size=True)(exact, target, None)["pixel_flow"] == 0


def test_segments_need_key_masks() -> None:
    with pytest.raises(ValueError, match="key is None; expected the key frame's masks"):
        FlowLoss()(prediction_of((0.0, 0.0)), constant((0.0, 0.0), PADDED), None)
