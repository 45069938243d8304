"""Laws of per-sample random numbers: they follow the sample through any batch, step or process, and layers are independent."""

import pytest
import torch
from torch import Tensor, nn

from src.models.per_sample_rng import PerSampleRandom, clear_per_sample, seed_per_sample

CPU = torch.device("cpu")


def layers() -> nn.ModuleList:
    return nn.ModuleList([PerSampleRandom(count=3), PerSampleRandom(calls=2)])


def numbers_of(network: nn.ModuleList, seed: int, samples: list[int]) -> Tensor:
    """All random numbers of one forward pass: (B, 3 + 1 + 1)."""
    seed_per_sample(network, seed, torch.tensor(samples))
    return torch.cat([network[0](len(samples), CPU), *(network[1](len(samples), CPU) for _ in range(2))], dim=1)


def test_a_sample_gets_the_same_numbers_in_any_batch() -> None:
    together = numbers_of(layers(), 7, [2, 2**40, 0, 5])
    assert torch.equal(together[[3, 1]], numbers_of(layers(), 7, [5, 2**40]))
    assert together.unique().numel() == together.numel(), "samples, layers and calls have their own numbers"
    assert not torch.isin(numbers_of(layers(), 8, [2, 2**40, 0, 5]), together).any()


def test_numbers_are_uniform() -> None:
    numbers = numbers_of(layers(), 0, list(range(2000)))
    assert numbers.min() >= 0 and numbers.max() < 1
    for column in numbers.T:
        shares = torch.histc(column, bins=4, min=0, max=1) / len(column)
        torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.05, rtol=0)


def test_a_second_pass_of_the_step_gets_the_same_numbers() -> None:
    network = layers()
    first = numbers_of(network, 0, [1, 2])
    assert torch.equal(first[:, :3], network[0](2, CPU)) and torch.equal(first[:, 3:4], network[1](2, CPU))


def test_another_batch_size_is_an_error_until_the_numbers_are_cleared() -> None:
    network = layers()
    seed_per_sample(network, 0, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="batch size of a layer is 3; expected 2"):
        network[0](3, CPU)
    clear_per_sample(network)
    torch.manual_seed(1)
    expected = torch.rand(3, 3)
    torch.manual_seed(1)
    assert torch.equal(network[0](3, CPU), expected)
