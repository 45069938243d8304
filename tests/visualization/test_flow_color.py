"""Laws of flow colors."""

import pytest
import torch

from src.visualization.flow_color import UNKNOWN_COLOR, flow_to_color, largest_motion


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


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 3\); expected \(2, H, W\)"):
        flow_to_color(torch.zeros(1, 2, 3, 3))
    with pytest.raises(ValueError, match="max_magnitude is 0"):
        flow_to_color(torch.zeros(2, 3, 3), 0)
