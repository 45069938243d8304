"""What a command line says about where and how to compute."""

from __future__ import annotations

import torch


def device_named(name: str) -> torch.device:
    """``auto`` (CUDA where there is one, else the CPU), or a name that torch knows.

    Raises:
        RuntimeError: if torch does not know it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def autocast_named(name: str | None) -> torch.dtype | None:
    """The dtype of an autocast region by its name; ``None`` is none.

    Raises:
        ValueError: if it is neither ``None``, ``bfloat16`` nor ``float16``.
    """
    known = {None: None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"autocast is {name!r}, expected null, bfloat16 or float16")
    return known[name]
