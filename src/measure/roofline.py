"""The least time that a count of multiply-adds takes on this machine: that of a matrix product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

_SIDE = 1024
_PRODUCTS = 4


@dataclass(frozen=True)
class MatrixProduct:
    """Square products of a side that fits the caches' blocking and is large enough to reach the machine's rate.

    Attributes:
        call: does ``multiply_adds`` of them.
        multiply_adds: of one call.
    """

    call: Callable[[], object]
    multiply_adds: int

    def rate(self, milliseconds: float) -> float:
        """Multiply-adds a second, in 1e9, where a call takes so long."""
        return self.multiply_adds / milliseconds / 1e6


def matrix_product(device: torch.device, dtype: torch.dtype = torch.float32) -> MatrixProduct:
    """What to time for the machine's rate at this precision and the number of threads in force when it is called."""
    a, b = (torch.randn(_SIDE, _SIDE, device=device).to(dtype) for _ in range(2))
    out = torch.empty(_SIDE, _SIDE, device=device, dtype=dtype)

    @torch.inference_mode()
    def call() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(a, b, out=out)

    return MatrixProduct(call, _PRODUCTS * _SIDE**3)


def floor_ms(giga_multiply_adds: float, rate: float) -> float:
    """Milliseconds that so many multiply-adds (1e9) take at a rate (1e9 a second)."""
    return 1e3 * giga_multiply_adds / rate
