"""Random numbers of layers by seed and sample number, independent of batches and processes."""

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from src.ops.random_streams import RandomStream


class PerSampleRandom(nn.Module):
    """Uniform random numbers of a layer: those set by :func:`seed_per_sample`, otherwise from torch's generator.

    Args:
        count: numbers per sample and call.
        calls: calls in one forward pass; further calls start over.
    """

    def __init__(self, count: int = 1, calls: int = 1) -> None:
        super().__init__()
        self.count = count
        self.calls = calls
        # The numbers of one step, so neither a buffer nor in a state dict.
        self._numbers: tuple[Tensor, ...] = ()
        self._next_call = 0

    def set_numbers(self, numbers: Float32[Tensor, "B N"] | None) -> None:
        """Set the numbers (0..1, N = calls * count) of the following calls; ``None``: use torch's generator."""
        self._numbers = () if numbers is None else torch.split(numbers, self.count, dim=1)
        self._next_call = 0

    def forward(self, batch: int, device: torch.device) -> Float32[Tensor, "{batch} {self.count}"]:
        """Return the numbers of one call, from 0 to below 1."""
        if not self._numbers:
            return torch.rand(batch, self.count, device=device)
        numbers = self._numbers[self._next_call % self.calls]
        self._next_call += 1
        if len(numbers) != batch:
            raise ValueError(f"batch size of a layer is {batch}; expected {len(numbers)}, the number of seeded samples")
        return numbers


def seed_per_sample(network: nn.Module, seed: int, sample_id: Int64[Tensor, " B"]) -> None:
    """Set the random numbers of a network's layers for a batch: a pure function of seed, sample number and order of the layers.

    The numbers are generated on the CPU, so that they do not depend on the device, and copied to that of ``sample_id`` at once.
    """
    layers = _layers(network)
    widths = [layer.count * layer.calls for layer in layers]
    if not layers:
        return
    rows = [
        np.random.default_rng((seed % 2**64, RandomStream.DROP_PATH, number)).random(sum(widths), dtype=np.float32)
        for number in sample_id.tolist()
    ]
    table = torch.from_numpy(np.stack(rows)).to(sample_id.device, non_blocking=True)
    for layer, numbers in zip(layers, torch.split(table, widths, dim=1), strict=True):
        layer.set_numbers(numbers)


def clear_per_sample(network: nn.Module) -> None:
    """Undo :func:`seed_per_sample`: every layer uses torch's generator."""
    for layer in _layers(network):
        layer.set_numbers(None)


def _layers(network: nn.Module) -> list[PerSampleRandom]:
    return [module for module in network.modules() if isinstance(module, PerSampleRandom)]
