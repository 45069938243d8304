"""Laws of flow colors."""

import pytest
import torch

from src.visualization.flow_color import UNKNOWN_COLOR, default_scale, flow_tile, flow_to_color, largest_motion


def one_color(dx: float, dy: float, max_magnitude: float = 5.0) -> torch.Tensor:
    return flow_to_color(torch.tensor([dx, dy]).view(2, 1, 1), max_magnitude)[:, 0, 0].int()


@pytest.mark.parametrize("max_magnitude", [None, 3.0])
def test_zero_flow_is_white(max_magnitude: float | None) -> None:
    assert (flow_to_color(torch.zeros(2, 4, 5), max_magnitude) == 255).all()


@pytest.mark.parametrize(("dx", "dy"), [(5, 0), (0, 5), (3.5, 3.5), (3.5, -3.5)])
def test_opposite_directions_differ(dx: float, dy: float) -> None:
    assert (one_color(dx, dy) - one_color(-dx, -dy)).abs().max() > 100


def test_longer_vectors_are_more_saturated_up_to_the_maximum() -> None:
    saturation = [int(one_color(dx, 0).max() - one_color(dx, 0).min()) for dx in (0.0, 1.0, 3.0, 5.0)]
    assert saturation == sorted(set(saturation))
    assert torch.equal(one_color(50, 0), one_color(5, 0))


def test_the_scale_of_a_map_is_its_longest_vector_unless_given() -> None:
    flow = torch.randn(2, 6, 7)
    assert torch.equal(flow_to_color(flow), flow_to_color(3 * flow))
    assert (flow_to_color(flow).int() - flow_to_color(flow, largest_motion(flow)).int()).abs().max() <= 1
    assert not torch.equal(flow_to_color(flow, 5.0), flow_to_color(3 * flow, 5.0))


def test_unknown_is_grey_and_changes_nothing_else() -> None:
    flow = torch.randn(2, 4, 5)
    holed = flow.clone()
    holed[0, 1, 2] = float("nan")
    colors = flow_to_color(holed, 2.0)
    assert tuple(colors[:, 1, 2].tolist()) == UNKNOWN_COLOR
    expected = flow_to_color(flow, 2.0)
    expected[:, 1, 2] = colors[:, 1, 2]
    assert torch.equal(colors, expected)


def test_largest_motion_ignores_the_unknown() -> None:
    flow = torch.zeros(2, 2, 2)
    flow[:, 0, 0] = torch.tensor([3.0, 4.0])
    flow[:, 1, 1] = float("nan")
    assert largest_motion(flow, None) == 5
    assert largest_motion(torch.full((2, 1, 1), float("nan"))) == 0


@pytest.mark.parametrize("size", [(120, 160), (480, 640), (68, 160)])
def test_a_flow_tile_has_the_wheel_of_its_scale_in_the_corner(size: tuple[int, int]) -> None:
    title, picture = flow_tile("f1", torch.zeros(2, *size), 20)
    assert title == "f1, full color at 20 px"
    rows, columns = (picture != 255).any(0).nonzero(as_tuple=True)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    assert top > 0.6 * picture.shape[1] and left > 0.6 * picture.shape[2] and bottom - top == right - left
    y, x, radius = (top + bottom) // 2, (left + right) // 2, (bottom - top) // 2
    assert (picture[:, y, x] >= 250).all()
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        found = picture[:, y + dy * (radius - 2), x + dx * (radius - 2)].int()
        assert (found - one_color(5.0 * dx, 5.0 * dy)).abs().max() < 80


def test_tiny_flows_have_a_picture_too() -> None:
    assert flow_tile("f", torch.zeros(2, 1, 1), 1).image.shape == (3, 240, 240)


def test_the_default_scale_is_round_and_depends_on_the_size_only() -> None:
    assert [default_scale(size) for size in ((5, 9), (96, 160), (272, 640), (1080, 1920), (4320, 7680))] == [1, 5, 20, 50, 200]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 3\); expected \(2, H, W\)"):
        flow_to_color(torch.zeros(1, 2, 3, 3))
    with pytest.raises(ValueError, match="max_magnitude is 0"):
        flow_to_color(torch.zeros(2, 3, 3), 0)
