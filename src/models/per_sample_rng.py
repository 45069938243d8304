"""Random numbers of layers, keyed by seed and sample number: a sample meets the same ones in any batch and on any process."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from src.ops.random_streams import RandomStream


class PerSampleRandom(nn.Module):
    """Uniform numbers for a layer, so many for each sample: those that :func:`seed_per_sample` laid out, else torch's own.

    Args:
        count: numbers per sample and call.
        calls: how often the layer asks in one forward pass; further calls begin again.
    """

    def __init__(self, count: int = 1, calls: int = 1) -> None:
        super().__init__()
        self.count = count
        self.calls = calls
        # The numbers of one step: no buffer, and in no state dict.
        self._laid_out: tuple[Tensor, ...] = ()
        self._called = 0

    def lay_out(self, numbers: Tensor | None) -> None:
        """Give the numbers to answer with.

        Args:
            numbers: (B, calls * count), 0..1; ``None``: from now on those of torch.
        """
        self._laid_out = () if numbers is None else torch.split(numbers, self.count, dim=1)
        self._called = 0

    def forward(self, batch: int, device: torch.device) -> Float32[Tensor, "{batch} {self.count}"]:
        """The numbers of one call: (B, count), from 0 to below 1.

        Raises:
            ValueError: if numbers are laid out for another number of samples.
        """
        if not self._laid_out:
            return torch.rand(batch, self.count, device=device)
        numbers = self._laid_out[self._called % self.calls]
        self._called += 1
        if len(numbers) != batch:
            raise ValueError(f"a layer was asked to draw for {batch} samples; this step's draws are those of {len(numbers)}")
        return numbers


def seed_per_sample(network: nn.Module, seed: int, sample_id: Int64[Tensor, " B"]) -> None:
    """Lay out what the layers of a network draw for a batch; a pure function of its arguments.

    The numbers come from the CPU, so that they do not depend on the device, and go to that of ``sample_id`` in one copy.

    Args:
        network: its layers are told apart by their order.
        seed: of the run.
        sample_id: (B,) int64, the number of each sample in the run.
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
        layer.lay_out(numbers)


def clear_per_sample(network: nn.Module) -> None:
    """The end of :func:`seed_per_sample`: every layer draws from torch's generator."""
    for layer in _layers(network):
        layer.lay_out(None)


def _layers(network: nn.Module) -> list[PerSampleRandom]:
    return [module for module in network.modules() if isinstance(module, PerSampleRandom)]
