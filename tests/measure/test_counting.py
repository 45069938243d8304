"""Laws of counting: what every operator costs, worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.measure.counting import count_multiply_adds


def count(function: object, *inputs: torch.Tensor) -> int:
    assert callable(function)
    return count_multiply_adds(lambda: function(*inputs))[1]


def test_linear_layers_and_products() -> None:
    assert count(nn.Linear(7, 5), torch.zeros(2, 3, 7)) == 2 * 3 * 7 * 5
    assert count(nn.Linear(7, 5, bias=False), torch.zeros(7)) == 7 * 5
    assert count(torch.matmul, torch.zeros(4, 2, 3), torch.zeros(4, 3, 6)) == 4 * 2 * 3 * 6
    assert count(lambda a, b: torch.einsum("bqk,bqhw->bkhw", a, b), torch.zeros(1, 5, 3), torch.zeros(1, 5, 8, 9)) == 5 * 3 * 72


def test_convolutions() -> None:
    image = torch.zeros(2, 4, 10, 12)
    assert count(nn.Conv2d(4, 6, 3, padding=1, stride=2), image) == 2 * (5 * 6) * 6 * 4 * 9
    assert count(nn.Conv2d(4, 8, 3, padding=1, groups=2), image) == 2 * (10 * 12) * 8 * 2 * 9
    # Every input pixel of a transposed convolution is spread over the whole kernel.
    assert count(nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), image) == 2 * (10 * 12) * 4 * 6 * 16


@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_every_kernel(masked: bool) -> None:
    query, memory = torch.zeros(2, 8, 5, 16), torch.zeros(2, 8, 7, 16)
    mask = torch.zeros(5, 7) if masked else None
    by_hand = 2 * 8 * 5 * 7 * (16 + 16)
    assert count(lambda: F.scaled_dot_product_attention(query, memory, memory, attn_mask=mask)) == by_hand
    assert count(lambda: (query @ memory.transpose(-1, -2)).softmax(-1) @ memory) == by_hand


@pytest.mark.parametrize("weights", [False, True])
def test_multi_head_attention_of_torch(weights: bool) -> None:
    attention = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    tokens = torch.zeros(2, 6, 32)
    fused = torch.backends.mha.get_fastpath_enabled()
    counted = count(lambda: attention(tokens, tokens, tokens, need_weights=weights))
    assert counted == 4 * 2 * 6 * 32 * 32 + 2 * 2 * 6 * 6 * 32
    assert torch.backends.mha.get_fastpath_enabled() == fused


def test_normalization() -> None:
    image = torch.zeros(2, 4, 6, 8)
    assert count(nn.LayerNorm(8), image) == 5 * image.numel()
    assert count(nn.GroupNorm(2, 4), image) == 5 * image.numel()
    assert count(nn.BatchNorm2d(4).eval(), image) == 2 * image.numel()


def test_bilinear_reading_counts_per_output_element() -> None:
    image = torch.zeros(2, 4, 6, 8)
    assert count(lambda: F.interpolate(image, size=(5, 7), mode="bilinear")) == 4 * 2 * 4 * 5 * 7
    assert count(lambda: F.grid_sample(image, torch.zeros(2, 9, 3, 2), align_corners=False)) == 4 * 2 * 4 * 9 * 3
    assert count(lambda: F.interpolate(image, size=(5, 7))) == 0


def test_the_result_is_returned() -> None:
    result, _ = count_multiply_adds(lambda: torch.ones(3) * 2)
    assert torch.equal(result, torch.full((3,), 2.0))
