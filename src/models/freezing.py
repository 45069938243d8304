"""Training of some parts of a network, with the others frozen."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from torch import nn


class PartlyFrozen(nn.Module):
    """Network of named parts, some of which train; the others are frozen, including batch-norm statistics and drop path."""

    _trainable: tuple[str, ...] | None = None

    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """Return the parts that can be trained or frozen, by their names in configs."""

    def unused_parameters(self) -> Iterable[nn.Parameter]:
        """Return parameters of a library's module that no output depends on; they never train.

        Distributed processes wait for the gradient of every trainable parameter, and these have none.
        """
        return ()

    def set_trainable(self, names: Sequence[str]) -> None:
        """Freeze everything but the named parts, including parameters outside every part."""
        parts = self.parts()
        unknown = sorted(set(names) - set(parts))
        if unknown:
            raise ValueError(f"parts of {type(self).__name__}: {', '.join(unknown)} unknown; expected some of {', '.join(parts)}")
        self.requires_grad_(False)
        for name in names:
            parts[name].requires_grad_(True)
        for parameter in self.unused_parameters():
            parameter.requires_grad_(False)
        self._trainable = tuple(names)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the trainable parts to train mode; frozen ones stay in eval mode, so that their buffers do not change."""
        if self._trainable is None or not mode:
            return super().train(mode)
        super().train(False)
        self.training = True
        parts = self.parts()
        for name in self._trainable:
            parts[name].train(True)
        return self
