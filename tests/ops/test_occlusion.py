import torch

from src.ops.occlusion import hidden, inconsistent


def test_a_shift_is_explained_but_for_what_comes_in() -> None:
    flow = torch.zeros(1, 2, 6, 10)
    flow[:, 0] = -3
    marked = inconsistent(flow, -flow)
    assert marked[..., :3].all() and not marked[..., 3:].any()


def test_still_images_have_no_new_pixel() -> None:
    assert not inconsistent(torch.zeros(2, 2, 5, 7), torch.zeros(2, 2, 5, 7)).any()


def test_what_a_moving_square_uncovers_is_marked() -> None:
    """A square moves 4 px to the right over a still ground: 4 columns become visible, where it was."""
    flow, back = torch.zeros(1, 2, 20, 30), torch.zeros(1, 2, 20, 30)
    flow[:, 0, 5:15, 14:24] = -4  # at the later frame, columns 14..23, from 10..19
    back[:, 0, 5:15, 10:20] = 4
    marked = inconsistent(flow, back)
    expected = torch.zeros(1, 20, 30, dtype=torch.bool)
    expected[:, 5:15, 10:14] = True
    assert torch.equal(marked, expected)


def test_longer_motion_may_miss_by_more() -> None:
    flow = torch.zeros(1, 2, 4, 40)
    flow[:, 0, :, 20:] = -15.0
    back = torch.full_like(flow, 0.0)
    back[:, 0] = 13.5
    # 1.5 px off: 2.25 against .01 * (225 + 182) + .5; of a motion of 1 px it would be far too much.
    assert not inconsistent(flow, back)[..., 20:].any()
    assert inconsistent(flow / 15, back * 0 - 0.5)[..., 20:].all()


def test_a_true_flow_hides_what_is_unknown_and_what_it_takes_from_outside() -> None:
    flow = torch.zeros(2, 2, 6, 10)
    flow[0, :, 2, 3] = torch.nan
    flow[0, 0, :, 8:] = 1.5  # column 8 comes from 9.5, between the last column and the border
    flow[1, 1, 0] = -0.5
    expected = torch.zeros(2, 6, 10, dtype=torch.bool)
    expected[0, 2, 3] = True
    expected[0, :, 8:] = True
    expected[1, 0] = True
    assert torch.equal(hidden(flow), expected)
