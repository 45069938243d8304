"""Laws of warped labels: zero and integer flow copy, and four neighbors vote."""

import pytest
import torch

from src.ops.label_warp import warp_label
from src.structures import IGNORE_INDEX


def labels(height: int = 9, width: int = 11) -> torch.Tensor:
    label = torch.randint(0, 4, (2, height, width))
    label[torch.rand(label.shape) < 0.2] = IGNORE_INDEX
    return label


def test_zero_flow_is_the_identity() -> None:
    label = labels()
    assert torch.equal(warp_label(label, torch.zeros(2, 2, 9, 11), 4), label)


def test_integer_flow_is_a_shifted_copy_with_the_border_repeated() -> None:
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
def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"flow \(1, 2, 9, 11\) does not fit label \(2, 9, 11\)"):
        warp_label(labels(), torch.zeros(1, 2, 9, 11), 4)
