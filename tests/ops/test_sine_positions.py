"""Laws of sine positions: distinct, normalized, and equal to transformers'."""

import torch
from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

from src.ops.sine_positions import sine_positions

CPU = torch.device("cpu")


def test_positions_are_distinct_and_normalized_to_one_turn() -> None:
    positions = sine_positions((5, 7), 16, torch.float32, CPU)
    assert torch.pdist(positions).min() > 0.05
    by_place = positions.unflatten(0, (5, 7))
    assert (by_place[:, :, :8] == by_place[:, :1, :8]).all(), "the first half may depend on the row only"
    assert (by_place[:, :, 8:] == by_place[:1, :, 8:]).all(), "the second half may depend on the column only"
    # The lowest channel turns once over the grid: its last sine and cosine are those of 2 pi.
    torch.testing.assert_close(by_place[-1, 0, :2], torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0)


def test_they_equal_those_of_transformers() -> None:
    theirs = Mask2FormerSinePositionEmbedding(16, normalize=True)(torch.Size((1, 32, 5, 7)), CPU, torch.float64)
    torch.testing.assert_close(sine_positions((5, 7), 32, torch.float64, CPU), theirs[0].flatten(1).T)
    close = sine_positions((5, 7), 32, torch.float32, CPU).double()
    torch.testing.assert_close(close, theirs[0].flatten(1).T, atol=2e-6, rtol=0)


def test_half_precision_is_that_of_the_result_only() -> None:
    precise, rounded = (sine_positions((5, 7), 32, dtype, CPU) for dtype in (torch.float32, torch.bfloat16))
    assert torch.equal(rounded, precise.bfloat16())
