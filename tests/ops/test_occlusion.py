"""Laws of occlusion: pixels without a source fail the forward-backward check, and a true flow marks them."""

import torch
from torch import Tensor

from src.ops.occlusion import forward_backward_consistent, inside_image, occluded


def shift(dx: float, dy: float, size: tuple[int, int] = (8, 10)) -> Tensor:
    """The flow of an image that moves as a whole by (dx, dy)."""
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, *size).clone()


def test_a_shift_is_consistent_except_for_what_enters() -> None:
    consistent = forward_backward_consistent(shift(-3, 0), shift(3, 0))
    assert not consistent[..., :3].any() and consistent[..., 3:].all()
    assert torch.equal(consistent, inside_image(shift(-3, 0)))
    assert forward_backward_consistent(shift(0, 0), shift(0, 0)).all()


def test_what_a_moving_square_uncovers_is_inconsistent() -> None:
    """A square moves 4 px to the right over a still background, and 4 columns become visible."""
    flow, back = torch.zeros(1, 2, 20, 30), torch.zeros(1, 2, 20, 30)
    flow[:, 0, 5:15, 14:24] = -4  # at the later frame, columns 14..23, from 10..19
    back[:, 0, 5:15, 10:20] = 4
    expected = torch.zeros(1, 20, 30, dtype=torch.bool)
    expected[:, 5:15, 10:14] = True
    assert torch.equal(~forward_backward_consistent(flow, back), expected)


def test_the_tolerance_is_half_a_squared_pixel_and_one_percent_of_the_squared_lengths() -> None:
    assert forward_backward_consistent(shift(0, 0), shift(0.7, 0)).all()
    assert not forward_backward_consistent(shift(0, 0), shift(0.75, 0)).any()
    long, inside = shift(-20, 0, (4, 60)), slice(20, None)
    assert forward_backward_consistent(long, shift(22.5, 0, (4, 60)))[..., inside].all()  # 6.25 < 9.06 + 0.5
    assert not forward_backward_consistent(long, shift(24, 0, (4, 60)))[..., inside].any()  # 16 > 9.76 + 0.5


def test_unknown_flow_is_inconsistent_and_does_not_affect_its_neighbors() -> None:
    flow, reverse = shift(0, 0), shift(0, 0)
    flow[:, :, 0] = torch.nan
    reverse[:, :, 7] = torch.inf
    assert forward_backward_consistent(flow, reverse).sum(2).tolist() == [[0, *[10] * 6, 0]]


def test_a_true_flow_occludes_what_is_unknown_and_what_comes_from_outside() -> None:
    flow = torch.zeros(2, 2, 6, 10)
    flow[0, :, 2, 3] = torch.nan
    flow[0, 0, :, 8:] = 1.5  # column 8 comes from 9.5, between the last column and the border
    flow[1, 1, 0] = -0.5
    expected = torch.zeros(2, 6, 10, dtype=torch.bool)
    expected[0, 2, 3] = True
    expected[0, :, 8:] = True
    expected[1, 0] = True
    assert torch.equal(occluded(flow), expected)
