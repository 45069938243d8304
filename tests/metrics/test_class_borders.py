import pytest
import torch

from src.metrics.class_borders import near_class_change
from src.structures import IGNORE_INDEX


def naive(label: torch.Tensor, pixels: int) -> torch.Tensor:
    found = torch.zeros(label.shape, dtype=torch.bool)
    for y, x in torch.cartesian_prod(*(torch.arange(n) for n in label.shape)).tolist():
        near = label[max(0, y - pixels) : y + pixels + 1, max(0, x - pixels) : x + pixels + 1]
        classes = near[near != IGNORE_INDEX]
        found[y, x] = label[y, x] != IGNORE_INDEX and bool((classes != label[y, x]).any())
    return found


@pytest.mark.parametrize("pixels", [1, 3])
def test_a_pixel_near_another_class_is_marked(pixels: int) -> None:
    generator = torch.Generator().manual_seed(pixels)
    label = torch.randint(0, 4, (4, 6), generator=generator).repeat_interleave(5, 0).repeat_interleave(4, 1)
    label[torch.rand(label.shape, generator=generator) < 0.1] = IGNORE_INDEX
    found = near_class_change(label, 4, pixels)
    assert torch.equal(found, naive(label, pixels)) and 0 < found.float().mean() < 1


def test_void_is_no_border() -> None:
    label = torch.tensor([[0, 0, 0, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX, 1, 1]])
    assert not near_class_change(label, 2, 3).any()
    assert near_class_change(label, 2, 4).tolist() == [[False, False, True, False, False, False, True, False]]
    # For a single class it is the background.
    assert near_class_change(label.clamp(min=0).where(label != 1, 0), 1, 1).tolist() == [
        [False, False, True, True, False, True, True, False]
    ]
