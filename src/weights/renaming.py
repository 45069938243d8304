"""Strict transfer of tensors between published names and ours; missing, unknown and misshapen tensors are an error."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from src.files.torch_files import reason
from src.ops.loadable import tensor_fault

Network = TypeVar("Network", bound=nn.Module)

Names = dict[str, tuple[str, ...]]
"""Published name to ours; several of ours if the published tensor is their concatenation in equal parts."""

WEIGHT_AND_BIAS = ("weight", "bias")

SHOWN = 5
"""Number of faults that an error lists; further ones are counted."""


class NameTable:
    """Name pairs below one published and one own prefix."""

    def __init__(self, published: str, ours: str) -> None:
        self.published = published
        self.ours = ours
        self.names: Names = {}

    def add(self, published: str, ours: str, kinds: Sequence[str] = WEIGHT_AND_BIAS) -> None:
        """Add the name pairs of one layer, one for each of its tensors."""
        for kind in kinds:
            self.names[f"{self.published}{published}.{kind}"] = (f"{self.ours}{ours}.{kind}",)


def load_renamed(
    module: nn.Module, tensors: Mapping[str, Tensor], names: Names, unchanged: Sequence[str] = (), prefix: str = ""
) -> None:
    """Load published tensors into a network of ours.

    Args:
        module: network; all its tensors must be in ``names`` or ``unchanged``.
        tensors: tensors by published name, exactly those of ``names``; on the meta device they are only compared.
        names: published names to ours.
        unchanged: our names of the tensors that keep their value.
        prefix: prefix of published names in error messages.

    Raises:
        ValueError: if tensors are missing, unknown, of another shape or type, or not finite; the message lists them.
    """
    state = module.state_dict()
    faults = [f"missing {prefix}{name}" for name in names if name not in tensors]
    faults += [f"unknown {prefix}{name} {tuple(value.shape)}" for name, value in tensors.items() if name not in names]
    loaded: dict[str, Tensor] = {name: state[name] for name in unchanged}
    for published, ours in names.items():
        if published not in tensors:
            continue
        value, first = tensors[published], state[ours[0]]
        shape = (len(ours) * first.shape[0], *first.shape[1:]) if len(ours) > 1 else None
        if fault := tensor_fault(value, first, shape):
            faults.append(f"{prefix}{published} {fault}")
            continue
        loaded.update(zip(ours, value.chunk(len(ours)) if len(ours) > 1 else (value,), strict=True))
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise ValueError(f"{len(faults)} tensors do not fit: " + "; ".join(faults[:SHOWN] + more))
    if not any(value.is_meta for value in loaded.values()):
        module.load_state_dict(loaded)


def build_renamed(
    build: Callable[[], Network], tensors: Mapping[str, Tensor], names: Names, unchanged: Sequence[str] = (), prefix: str = ""
) -> Network:
    """Build a network and load tensors by :func:`load_renamed`, after a comparison on the meta device, which takes no memory."""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=()):
            empty = build()
    except ValueError:
        raise
    # Libraries raise errors of many types for sizes that do not fit one another.
    except Exception as error:
        raise ValueError(f"the shapes do not fit one another: {reason(error)}") from error
    load_renamed(empty, {name: value.to("meta") for name, value in tensors.items()}, names, unchanged, prefix)
    network = build()
    load_renamed(network, tensors, names, unchanged, prefix)
    return network


def export_renamed(module: nn.Module, names: Names) -> dict[str, Tensor]:
    """Return the tensors of a network of ours by published name: the inverse of :func:`load_renamed`."""
    state = module.state_dict()
    return {
        published: torch.cat([state[name] for name in ours]) if len(ours) > 1 else state[ours[0]]
        for published, ours in names.items()
    }
