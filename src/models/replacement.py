"""Replacement of modules inside a library's network."""

from collections.abc import Callable
from typing import Any, cast

from torch import nn


class Replacement:
    """First base of a subclass of a library's module: takes over the parameters, buffers and children of one, without copies.

    Args:
        module: module to replace.
    """

    def __init__(self, module: nn.Module) -> None:
        nn.Module.__init__(cast(nn.Module, self))
        self.__dict__.update(module.__dict__)


def replace_modules(
    network: nn.Module, types: type[nn.Module] | tuple[type[nn.Module], ...], build: Callable[[Any], nn.Module]
) -> None:
    """Replace each module of the given types inside a network by ``build(module)``."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, types):
                setattr(parent, name, build(child))
