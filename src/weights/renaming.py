"""Moving tensors between two sets of names, strictly: what is missing, unknown or of another shape is an error that lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Names = Mapping[str, tuple[str, ...]]
"""Foreign name to ours; several of ours where the foreign tensor holds them on top of one another, in equal parts."""

SHOWN = 20
"""Faults that an error lists before it only counts them."""


def load_renamed(
    module: nn.Module, tensors: Mapping[str, Tensor], names: Names, kept: Sequence[str] = (), prefix: str = ""
) -> None:
    """Load foreign tensors into a network of ours.

    Args:
        module: all its tensors must be in ``names`` or ``kept``.
        tensors: by foreign name, exactly those of ``names``.
        names: foreign to ours.
        kept: names of ours that stay as they are.
        prefix: what error messages put before foreign names.

    Raises:
        ValueError: lists the tensors that are missing, unknown, or of another shape or kind.
    """
    state = module.state_dict()
    faults = [f"missing {prefix}{name}" for name in names if name not in tensors]
    faults += [f"unknown {prefix}{name} {tuple(value.shape)}" for name, value in tensors.items() if name not in names]
    loaded: dict[str, Tensor] = {name: state[name] for name in kept}
    for foreign, ours in names.items():
        if foreign not in tensors:
            continue
        value, first = tensors[foreign], state[ours[0]]
        expected = (len(ours) * first.shape[0], *first.shape[1:]) if len(ours) > 1 else tuple(first.shape)
        if tuple(value.shape) != expected or value.is_floating_point() != first.is_floating_point():
            found = f"{tuple(value.shape)} {value.dtype}".replace("torch.", "")
            faults.append(f"{prefix}{foreign} is {found}, expected {expected} {first.dtype}".replace("torch.", ""))
            continue
        loaded.update(zip(ours, value.chunk(len(ours)) if len(ours) > 1 else (value,), strict=True))
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise ValueError(f"{len(faults)} tensors do not fit:\n  " + "\n  ".join(faults[:SHOWN] + more))
    module.load_state_dict(loaded)


def export_renamed(module: nn.Module, names: Names) -> dict[str, Tensor]:
    """The reverse of :func:`load_renamed`: the tensors of a network of ours under their foreign names.

    Args:
        module: the network.
        names: foreign to ours.
    """
    state = module.state_dict()
    return {
        foreign: torch.cat([state[name] for name in ours]) if len(ours) > 1 else state[ours[0]] for foreign, ours in names.items()
    }
