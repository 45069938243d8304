"""Checks of tensors from files: nothing is cast, and every number is finite."""

from collections.abc import Mapping

import torch
from torch import Tensor

_FLOATS = (torch.float16, torch.bfloat16, torch.float32)


def tensor_fault(found: Tensor, expected: Tensor, shape: tuple[int, ...] | None = None) -> str | None:
    """Return why a tensor cannot be loaded into another, or ``None``.

    Parameters of floats accept float16, bfloat16 and float32; other tensors only their own type.

    Args:
        found: tensor of a file; one on the meta device stands for a header, whose values are not checked.
        expected: tensor of the network.
        shape: shape that is expected instead of that of ``expected``.
    """
    shape = tuple(expected.shape) if shape is None else shape
    if found.layout != torch.strided or found.is_quantized:
        return f"is {'quantized' if found.is_quantized else 'sparse'}, expected a dense tensor"
    fits = found.dtype in _FLOATS if expected.is_floating_point() else found.dtype == expected.dtype
    if tuple(found.shape) != shape or not fits:
        return f"is {tuple(found.shape)} {found.dtype}, expected {shape} {expected.dtype}".replace("torch.", "")
    if found.is_meta or not found.is_floating_point() or is_finite(found):
        return None
    return f"has {int((~torch.isfinite(found)).sum())} of {found.numel()} values that are NaN or infinite, expected numbers"


def is_finite(values: Tensor) -> bool:
    """Return whether all values are finite."""
    # A sum needs no copy; finite values may have an infinite one.
    return bool(torch.isfinite(values.sum(dtype=torch.float32))) or bool(torch.isfinite(values).all())


def check_loaded(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise a ``ValueError`` that names the first tensor with NaN or infinite values."""
    for name, value in tensors.items():
        if fault := tensor_fault(value, value):
            raise ValueError(f"{source}: tensor {name} {fault}; the file is damaged, or of a training that diverged")
