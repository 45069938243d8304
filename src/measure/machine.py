"""What a command line says about where and how to compute."""

from __future__ import annotations

import torch


def device_named(name: str | int) -> torch.device:
    """``auto`` (CUDA where there is one, else the CPU), or the name of a device that this machine has.

    Raises:
        ValueError: if it has none of that name; lists those that there are.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = available_devices()
    # A kind without a number is the one in use among its kind; cpu:0 is the CPU.
    if str(name) not in (*there, *(device.partition(":")[0] for device in there), "cpu:0"):
        raise ValueError(f"device is {name!r}; expected auto or what this machine has: {', '.join(there)}")
    return torch.device(name)


def available_devices() -> list[str]:
    """The CPU and every accelerator that torch can use on this machine, such as ``cuda:0``."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if accelerator is None else torch.accelerator.device_count()
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(count) if accelerator is not None)]


def autocast_named(name: str | None) -> torch.dtype | None:
    """The dtype of an autocast region by its name; ``None`` is none.

    Raises:
        ValueError: if it is neither ``None``, ``bfloat16`` nor ``float16``.
    """
    known = {None: None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"autocast is {name!r}, expected null, bfloat16 or float16")
    return known[name]
