"""Laws of flicker of frames: motion counts for nothing, changes of class do, and nothing is compared across cuts."""

import pytest
import torch
from torch import Tensor

from src.inference.video.quality.flicker import FrameFlicker
from tests.inference.tiny import frames

SIZE = (64, 96)


def pictures(count: int) -> list[Tensor]:
    return [image[0] if image.ndim == 4 else image for image in frames(count, SIZE)]


def test_maps_that_move_with_the_picture_do_not_flicker() -> None:
    """The picture drifts by two pixels a frame."""
    stripes = (torch.arange(120) // 6 % 2).to(torch.uint8).expand(64, -1)
    moves, stays = FrameFlicker(), FrameFlicker()
    moved, stayed = [], []
    for number, image in enumerate(pictures(5)):
        start = 2 * (5 - number)
        moved.append(moves.add(image, stripes[:, start : start + 96].contiguous()))
        stayed.append(stays.add(image, stripes[:, :96].contiguous()))
    assert moved[0] is None and stayed[0] is None
    assert max(value for value in moved if value is not None) < 0.03
    assert min(value for value in stayed if value is not None) > 0.2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_a_changed_quarter_is_a_quarter(dtype: torch.dtype) -> None:
    image, labels = pictures(1)[0], torch.zeros(SIZE, dtype=dtype)
    changed = labels.clone()
    changed[:32, :48] = 3
    flicker = FrameFlicker()
    assert [flicker.add(image, one) for one in (labels, labels, changed)] == [None, 0.0, 0.25]


def test_nothing_is_compared_across_cuts_and_sizes() -> None:
    flicker = FrameFlicker()
    across = torch.linspace(0, 255, 96).to(torch.uint8).expand(3, 64, 96).contiguous()
    labels = torch.zeros(SIZE, dtype=torch.uint8)
    assert flicker.add(across, labels) is None and flicker.add(across, labels) == 0
    assert flicker.add(255 - across, labels) is None, "a scene cut"
    assert flicker.add(255 - across, labels) == 0
    assert flicker.add(across[:, :32].contiguous(), labels[:32].contiguous()) is None, "another size"


def test_large_frames_are_compared_on_a_smaller_grid() -> None:
    image = pictures(1)[0].repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels = torch.zeros(512, 768, dtype=torch.int32)
    changed = labels.clone()
    changed[:256] = 300
    flicker = FrameFlicker()
    flicker.add(image, labels)
    assert flicker.add(image, changed) == pytest.approx(0.5, abs=0.01)
    assert flicker._previous is not None and flicker._previous[1].shape == (240, 360)
