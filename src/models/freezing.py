"""Training a part of a network while the rest stays exactly as it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from torch import nn


class PartlyFrozen(nn.Module):
    """A network of named parts of which some train and the others are frozen, batch-norm statistics and drop-path included."""

    _trainable: tuple[str, ...] | None = None

    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """The parts that can be trained or frozen, by the names that configs use."""

    def unused_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that are there, by way of somebody else's layout, and that no output depends on: they never train.

        Several processes wait for the gradient of every trainable parameter, and these would have none.
        """
        return ()

    def set_trainable(self, names: Sequence[str]) -> None:
        """Freeze everything but the named parts. Parameters outside every part are frozen too.

        Raises:
            ValueError: if a name is not a part; lists the parts there are.
        """
        parts = self.parts()
        unknown = sorted(set(names) - set(parts))
        if unknown:
            raise ValueError(f"no part named {', '.join(unknown)} in {type(self).__name__}; its parts are {', '.join(parts)}")
        self.requires_grad_(False)
        for name in names:
            parts[name].requires_grad_(True)
        for parameter in self.unused_parameters():
            parameter.requires_grad_(False)
        self._trainable = tuple(names)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch the trainable parts to train mode; frozen ones stay in eval mode, so that nothing in them moves."""
        if self._trainable is None or not mode:
            return super().train(mode)
        super().train(False)
        self.training = True
        parts = self.parts()
        for name in self._trainable:
            parts[name].train(True)
        return self
