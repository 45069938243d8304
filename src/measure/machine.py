"""Devices and precisions by the names of configurations."""

import torch


def device_named(name: str | int) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA if available, else the CPU.

    Raises:
        ValueError: if this machine has no such device; lists its devices.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = available_devices()
    # A type without an index is its current device; cpu:0 is the CPU.
    if str(name) not in (*known, *(device.partition(":")[0] for device in known), "cpu:0"):
        raise ValueError(f"device is {name!r}; expected auto or a device of this machine: {', '.join(known)}")
    return torch.device(name)


def available_devices() -> list[str]:
    """List the CPU and every accelerator that torch can use on this machine, such as ``cuda:0``."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    count = 0 if accelerator is None else torch.accelerator.device_count()
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(count) if accelerator is not None)]


def autocast_named(name: str | None) -> torch.dtype | None:
    """Return the dtype of an autocast region by name; ``None`` for no autocast.

    Raises:
        ValueError: if the name is unknown.
    """
    known = {None: None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"autocast is {name!r}; expected null, bfloat16 or float16")
    return known[name]
