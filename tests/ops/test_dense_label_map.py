"""Laws of label maps of dense predictions: the largest of the weighted scores, read at the source of every pixel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.ops.label_map.dense import DenseSource, dense_label_map, dense_scores

SIZE = (37, 50)


def scores(classes: int = 40, grid: tuple[int, int] = (20, 27), seed: int = 0) -> Tensor:
    """Smooth scores (K, h, w), in which some classes win nowhere."""
    made = torch.randn(1, classes, 4, 5, generator=torch.Generator().manual_seed(seed)) * 3
    made = made - torch.linspace(0, 12, classes).view(1, -1, 1, 1)
    return F.interpolate(made, grid, mode="bilinear")[0].contiguous()


def wavy(size: tuple[int, int] = SIZE) -> Tensor:
    return F.interpolate(torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(5)) * 6, size, mode="bilinear")[0]


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (8, 9), (20, 27), (37, 50), (60, 70)])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_single_sources_have_the_bits_of_interpolate(grid: tuple[int, int], order: torch.memory_format) -> None:
    for size in (SIZE, (150, 190)):
        logits = scores(grid=grid)[None].contiguous(memory_format=order)[0]
        expected = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0].argmax(0)
        assert torch.equal(dense_label_map([DenseSource(logits)], size), expected)


def test_whole_pixels_of_motion_shift_the_scores() -> None:
    logits = scores(grid=SIZE)
    flow = torch.tensor([3.0, -2.0]).view(2, 1, 1).expand(2, *SIZE)
    found = dense_scores([DenseSource(logits, flow)], SIZE)
    torch.testing.assert_close(found[:, 2:, :-3], logits[:, :-2, 3:], atol=1e-4, rtol=1e-4)
    # Sources outside the image move to its border.
    torch.testing.assert_close(found[:, 0, -1], logits[:, 0, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("classes", [2, 40])
@pytest.mark.parametrize("sources", [1, 2, 3])
def test_label_maps_are_the_largest_of_the_scores(sources: int, classes: int) -> None:
    shares = torch.rand(sources, *SIZE, generator=torch.Generator().manual_seed(2)).softmax(0)
    flows = [wavy(), None, -wavy()]
    made = [DenseSource(scores(classes, seed=n), flows[n], shares[n]) for n in range(sources)]
    found, all_scores = dense_label_map(made, SIZE), dense_scores(made, SIZE)
    best = all_scores.max(0).values
    chosen = all_scores.gather(0, found[None])[0]
    # Nearly equal scores may be rounded either way.
    torch.testing.assert_close(chosen, best, atol=1e-4, rtol=1e-4)
    assert (found == all_scores.argmax(0)).float().mean() > 0.99
