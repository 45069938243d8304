"""Roofline of a machine: the least time of a number of multiply-adds, at the rate of its matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

_SIDE = 1024
_PRODUCTS = 4


@dataclass(frozen=True)
class MatrixProduct:
    """Timed products of square matrices, large enough to reach the machine's rate and small enough for its caches.

    Attributes:
        call: computes the products.
        multiply_adds: multiply-adds of one call.
    """

    call: Callable[[], object]
    multiply_adds: int

    def rate(self, milliseconds: float) -> float:
        """Convert the time of a call to 1e9 multiply-adds per second."""
        return self.multiply_adds / milliseconds / 1e6


def matrix_product(device: torch.device, dtype: torch.dtype = torch.float32) -> MatrixProduct:
    """Build the products that measure the machine's rate, at the number of threads in force when they are called."""
    a, b = (torch.randn(_SIDE, _SIDE, device=device).to(dtype) for _ in range(2))
    out = torch.empty(_SIDE, _SIDE, device=device, dtype=dtype)

    @torch.inference_mode()
    def call() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(a, b, out=out)

    return MatrixProduct(call, _PRODUCTS * _SIDE**3)


def roofline_ms(giga_multiply_adds: float, rate: float) -> float:
    """Compute the milliseconds of a number of multiply-adds (1e9) at a rate (1e9 per second)."""
    return 1e3 * giga_multiply_adds / rate
