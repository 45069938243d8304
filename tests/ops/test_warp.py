"""Laws of backward warping: ``warp(source, flow)[p] = source[p + flow[p]]``."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from kornia.geometry.transform import remap, resize

from src.ops.warp import WarpGrid, disoccluded, resize_flow, warp, warp_label, warp_segments
from src.structures import IGNORE_INDEX, FlowPrediction


def constant_flow(dx: float, dy: float, size: tuple[int, int], batch: int = 1) -> torch.Tensor:
    return torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).repeat(batch, 1, *size)


def smooth(*shape: int) -> torch.Tensor:
    """A smooth random image: a random 4x4 one, upsampled."""
    return F.interpolate(torch.rand(*shape[:-2], 4, 4), size=shape[-2:], mode="bicubic", align_corners=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (37, 53), (64, 96), (120, 213), (135, 241)])
def test_zero_flow_is_the_identity_bit_for_bit(size: tuple[int, int]) -> None:
    source = torch.randn(2, 3, *size) * 100
    assert torch.equal(warp(source, torch.zeros(2, 2, *size)), source)


@pytest.mark.parametrize("size", [(2, 7), (37, 53), (64, 96)])
def test_it_equals_kornias_remap(size: tuple[int, int]) -> None:
    source, flow = torch.randn(2, 3, *size, dtype=torch.float64), 4 * torch.randn(2, 2, *size, dtype=torch.float64)
    columns = torch.arange(size[1]) + flow[:, 0]
    rows = torch.arange(size[0])[:, None] + flow[:, 1]
    expected = remap(source, columns, rows, padding_mode="border", align_corners=True)
    torch.testing.assert_close(warp(source, flow), expected)


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-3, 0), (0, 2), (0, -5), (4, -7)])
@pytest.mark.parametrize("size", [(17, 23), (32, 48)])
def test_integer_flow_is_a_shifted_copy_with_clamped_borders(dx: int, dy: int, size: tuple[int, int]) -> None:
    source = torch.randn(1, 2, *size)
    rows = (torch.arange(size[0]) + dy).clamp(0, size[0] - 1)
    columns = (torch.arange(size[1]) + dx).clamp(0, size[1] - 1)
    expected = source[:, :, rows][:, :, :, columns]
    assert torch.equal(warp(source, constant_flow(dx, dy, size)), expected)


def test_a_square_that_moved_right_lands_on_itself() -> None:
    key, nonkey = torch.zeros(1, 1, 21, 33), torch.zeros(1, 1, 21, 33)
    key[..., 5:12, 8:15] = 1
    nonkey[..., 5:12, 11:18] = 1
    # Backward flow: the square's non-key pixels find their source 3 px to the left, the still background in place.
    flow = torch.zeros(1, 2, 21, 33)
    flow[:, 0, 5:12, 11:18] = -3
    flow[:, 0, 5:12, 8:11] = 8  # uncovered background: any source outside the square
    assert torch.equal(warp(key, flow), nonkey)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    source = torch.tensor([[[[0.0, 10.0, 30.0], [1.0, 2.0, 3.0]]]])
    flow = constant_flow(0.5, 0.0, (2, 3))
    assert torch.equal(warp(source, flow), torch.tensor([[[[5.0, 20.0, 30.0], [1.5, 2.5, 3.0]]]]))


@pytest.mark.parametrize("grid", ["exact", "reference"])
@pytest.mark.parametrize("far", [1e3, 1e6])
def test_positions_outside_read_the_border(far: float, grid: WarpGrid) -> None:
    source = torch.randn(1, 1, 6, 9)
    last, first = warp(source, constant_flow(far, far, (6, 9)), grid), warp(source, constant_flow(-far, -far, (6, 9)), grid)
    assert torch.equal(last, source[..., -1:, -1:].expand_as(source))
    assert torch.equal(first, source[..., :1, :1].expand_as(source))


@pytest.mark.parametrize("far", [3e38, float("inf")])
def test_an_infinite_flow_reads_the_border(far: float) -> None:
    source = torch.randn(1, 1, 6, 9)
    assert torch.equal(warp(source, constant_flow(far, far, (6, 9))), source[..., -1:, -1:].expand_as(source))
    assert torch.equal(warp(source, constant_flow(-far, -far, (6, 9))), source[..., :1, :1].expand_as(source))


def test_the_reference_grid_reads_a_row_of_eight_at_seven_eighths() -> None:
    row = torch.arange(8.0)
    source = row.repeat(4, 1)[None, None]
    expected = (0.875 * row).repeat(4, 1)[None, None]
    zero = torch.zeros(1, 2, 4, 8)
    torch.testing.assert_close(warp(source, zero, grid="reference"), expected)
    # Rows shrink likewise: 4 of them are read at 0, .75, 1.5, 2.25.
    column = source[:, :, :, :4].transpose(2, 3)
    expected = torch.tensor([0.0, 0.75, 1.5, 2.25]).view(1, 1, 4, 1).expand(1, 1, 4, 4)
    torch.testing.assert_close(warp(column, zero[..., :4], grid="reference"), expected)
    # A flow of one pixel moves the reading by 7/8.
    moved = warp(source, constant_flow(1, 0, (4, 8)), grid="reference")
    torch.testing.assert_close(moved[..., 0, :7], 0.875 * (row[:7] + 1).view(1, 1, 7))


@pytest.mark.parametrize("grid", ["exact", "reference"])
def test_gradients_are_those_of_finite_differences(grid: WarpGrid) -> None:
    source = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    # Away from whole pixels, where bilinear reading has a kink, and inside the image, where the border clamp has none.
    ys, xs = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    target = torch.stack(((xs * 0.7 + 0.4).clamp(0.3, 4.6), (ys * 0.6 + 0.35).clamp(0.3, 3.6)))
    flow = (target - torch.stack((xs, ys)))[None].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, f: warp(s, f, grid), (source, flow))


@pytest.mark.parametrize("grid", ["exact", "reference"])
def test_half_precision_is_computed_in_float32(grid: WarpGrid) -> None:
    source = torch.randn(1, 3, 11, 700)
    flow = torch.rand(1, 2, 11, 700).mul(6).sub(3)
    half_source, half_flow = source.bfloat16(), flow.bfloat16()
    expected = warp(half_source.float(), half_flow.float(), grid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        warped = warp(half_source, half_flow, grid)
    assert warped.dtype == torch.float32
    assert torch.equal(warped, expected)


def test_every_segment_moves_by_its_own_flow() -> None:
    masks, flow = torch.randn(3, 2, 4, 13, 18), torch.randn(2, 4, 2, 13, 18) * 3
    warped = warp_segments(masks, flow)
    for layer in range(3):
        for query in range(4):
            torch.testing.assert_close(warped[layer, :, query, None], warp(masks[layer, :, query, None], flow[:, query]))


def test_a_flow_of_another_grid_is_resized_and_inference_in_blocks_is_equal() -> None:
    masks, flow = torch.randn(2, 2, 11, 12, 16), torch.randn(2, 11, 2, 6, 8)
    whole = warp_segments(masks, resize_flow(flow, (12, 16)))
    assert torch.equal(warp_segments(masks, flow), whole)
    with torch.inference_mode():
        torch.testing.assert_close(warp_segments(masks, flow), whole, atol=2e-5, rtol=1e-5)
        assert torch.equal(warp_segments(masks, resize_flow(flow, (12, 16))), warp_segments(masks, flow))


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 9), (9, 8), (8, 16)])
@pytest.mark.parametrize("grid", ["exact", "reference"])
def test_inference_warps_equally(size: tuple[int, int], grid: WarpGrid) -> None:
    source, flow = torch.randn(3, 2, *size), 5 * torch.randn(3, 2, *size)
    expected = warp(source, flow, grid)
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(warp(source, flow, grid), expected)


@pytest.mark.parametrize("size", [(12, 16), (6, 8), (7, 16), (3, 4), (18, 24)])
def test_inference_resizes_equally(size: tuple[int, int]) -> None:
    flow = torch.randn(2, 3, 2, 6, 8)
    expected = resize_flow(flow, size)
    with torch.inference_mode():
        torch.testing.assert_close(resize_flow(flow, size), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid", ["exact", "reference"])
def test_one_flow_for_all_segments_equals_the_same_flow_for_each(grid: WarpGrid) -> None:
    masks, flow = torch.randn(2, 2, 5, 9, 12), torch.randn(2, 1, 2, 9, 12) * 3
    shared = warp_segments(masks, flow, grid)
    torch.testing.assert_close(shared, warp_segments(masks, flow.expand(2, 5, 2, 9, 12), grid))


def test_batch_elements_do_not_mix() -> None:
    masks, flow = torch.randn(2, 3, 4, 8, 10), torch.randn(3, 4, 2, 8, 10)
    alone = warp_segments(masks[:, 1:2], flow[1:2])
    torch.testing.assert_close(warp_segments(masks, flow)[:, 1:2], alone)


def test_a_resized_flow_stays_in_pixels_of_its_own_grid() -> None:
    flow = constant_flow(3, -2, (6, 8))
    resized = resize_flow(flow, (12, 32))
    torch.testing.assert_close(resized, constant_flow(12, -4, (12, 32)))
    assert torch.equal(resize_flow(flow, (6, 8)), flow)
    queries = torch.randn(2, 5, 2, 6, 8)
    torch.testing.assert_close(resize_flow(queries, (12, 16))[1, 3], resize_flow(queries[1, 3], (12, 16)))


@pytest.mark.parametrize("size", [(12, 16), (5, 31), (3, 4)])
def test_resizing_equals_kornias_with_scaled_vectors(size: tuple[int, int]) -> None:
    flow = torch.randn(2, 2, 6, 8, dtype=torch.float64)
    scale = torch.tensor([size[1] / 8, size[0] / 6]).view(2, 1, 1)
    torch.testing.assert_close(resize_flow(flow, size), scale * resize(flow, size, align_corners=False))


def test_warping_and_resizing_commute() -> None:
    source, flow = smooth(1, 2, 40, 56), 4 * smooth(1, 2, 40, 56) - 2

    def double(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=(80, 112), mode="bilinear", align_corners=False)

    def error(warped: torch.Tensor) -> float:
        # The outermost pixels are clamped at half pixels that the two grids do not share.
        return (warped - double(warp(source, flow)))[..., 8:-8, 8:-8].abs().max().item()

    scaled = error(warp(double(source), resize_flow(flow, (80, 112))))
    unscaled = error(warp(double(source), double(flow)))
    assert scaled < 0.005 < 0.02 < unscaled


@pytest.mark.parametrize("shape", [(1, 2, 4, 6), (2, 2, 4, 5), (2, 3, 4, 6), (2, 4, 6)])
@pytest.mark.usefixtures("unchecked_shapes")
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit source"):
        warp(torch.zeros(2, 3, 4, 6), torch.zeros(shape))


@pytest.mark.parametrize("flows", [2, 5])
def test_flows_that_are_neither_one_nor_one_each_are_refused(flows: int) -> None:
    with pytest.raises(ValueError, match="does not fit mask_logits"):
        warp_segments(torch.zeros(1, 1, 4, 6, 6), torch.zeros(1, flows, 2, 6, 6))


def test_an_unknown_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="warp grid is"):
        warp(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4), grid="mmcv")


def test_disocclusion_is_the_lack_of_confidence_at_full_size() -> None:
    flow = FlowPrediction(torch.zeros(1, 1, 2, 4, 8), (), (32, 64))
    assert disoccluded(flow, (30, 60)) is None
    confidence = torch.ones(1, 3, 4, 8)
    confidence[:, :, :, 4:] = torch.tensor([0.0, 0.25, 0.1]).view(3, 1, 1)
    probability = disoccluded(replace(flow, confidence=confidence), (30, 60))
    assert probability is not None and probability.shape == (1, 30, 60)
    assert (probability[..., :28] == 0).all() and (probability[..., 36:] == 0.75).all()


def labels(height: int = 9, width: int = 11) -> torch.Tensor:
    label = torch.randint(0, 4, (2, height, width))
    label[torch.rand(label.shape) < 0.2] = IGNORE_INDEX
    return label


def test_zero_flow_returns_the_label() -> None:
    label = labels()
    assert torch.equal(warp_label(label, torch.zeros(2, 2, 9, 11), 4), label)


def test_integer_flow_shifts_the_label_with_the_border_repeated() -> None:
    label, flow = labels(), torch.zeros(2, 2, 9, 11)
    flow[:, 0], flow[:, 1] = 3, -2
    warped = warp_label(label, flow, 4)
    assert torch.equal(warped[:, 2:, :-3], label[:, :-2, 3:])
    assert torch.equal(warped[:, 2:, -3:], label[:, :-2, -1:].expand(-1, -1, 3))
    assert torch.equal(warped[:, :2, :-3], label[:, :1, 3:].expand(-1, 2, -1))


def test_the_four_neighbors_vote_by_their_bilinear_weights() -> None:
    # Left 1, right 2: a quarter of a pixel to the right of the left one, 1 wins by .75; of three quarters, 2.
    label = torch.tensor([[[1, 2]]])
    for dx, winner in ((0.25, 1), (0.75, 2), (0.5, 1)):
        flow = torch.tensor([dx, 0.0]).view(1, 2, 1, 1).expand(-1, -1, 1, 2)
        assert warp_label(label, flow, 3)[0, 0, 0] == winner
    # Two of one class outvote the nearest: (.4 + .2) of class 0 against .4 of class 2.
    label = torch.tensor([[[2, 0], [0, 0]]])
    flow = torch.tensor([0.4, 0.4]).view(1, 2, 1, 1).expand(-1, -1, 2, 2)
    assert warp_label(label, flow, 3)[0, 0, 0] == 0


def test_void_votes_as_a_class_does() -> None:
    label = torch.tensor([[[1, IGNORE_INDEX]]])
    for dx, winner in ((0.4, 1), (0.6, IGNORE_INDEX)):
        flow = torch.tensor([dx, 0.0]).view(1, 2, 1, 1).expand(-1, -1, 1, 2)
        assert warp_label(label, flow, 2)[0, 0, 0] == winner


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_label_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"flow \(1, 2, 9, 11\) does not fit label \(2, 9, 11\)"):
        warp_label(labels(), torch.zeros(1, 2, 9, 11), 4)
