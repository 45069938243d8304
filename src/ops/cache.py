"""What inference keeps between frames: what a function makes of sizes, or of another tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def can_cache() -> bool:
    """Whether what is made now may be served to later calls.

    In inference mode, but neither traced, nor without data, nor under autocast, where it may have another precision.
    """
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return False
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        return False
    # A fake tensor mode makes tensors of a type of its own, and there is no other public way to see it.
    return type(torch.empty(0, device="cpu")) is Tensor


def cached_constant(entries: int) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Decorate a function whose tensor depends on its arguments alone: in inference mode the last results are kept.

    They are ordinary tensors, which may meet gradients later. Who writes to one gets an error at the next call. Threads may call
    at the same time.

    Args:
        entries: how many results are kept, at most; the one not asked for the longest goes first.

    Returns:
        The decorator, for functions of hashable arguments: sizes, and the dtype and the device of the result.
    """

    def decorate(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @lru_cache(maxsize=entries)
        def made(*arguments: P.args, **options: P.kwargs) -> tuple[Tensor, int]:
            with torch.inference_mode(False), torch.no_grad():
                result = function(*arguments, **options)
            return result, result._version

        @wraps(function)
        def kept(*arguments: P.args, **options: P.kwargs) -> Tensor:
            without_data = any(isinstance(x, torch.device) and x.type == "meta" for x in (*arguments, *options.values()))
            if without_data or not can_cache():
                return function(*arguments, **options)
            result, version = made(*arguments, **options)  # type: ignore[arg-type]
            if result._version != version:
                raise RuntimeError(f"a result of {function.__qualname__} was written to, but is kept for other calls")
            return result

        return kept

    return decorate


@dataclass(frozen=True)
class _Made:
    """A result and what tells whether it still belongs to its source."""

    source: Tensor
    version: int
    some: Tensor
    result: Tensor

    def belongs_to(self, source: Tensor) -> bool:
        mine = self.source
        return (
            source.data_ptr() == mine.data_ptr()
            and source._version == self.version
            and source.dtype == mine.dtype
            and source.device == mine.device
            and source.shape == mine.shape
            and source.stride() == mine.stride()
            and torch.equal(source[:, 0], self.some)
        )


class CachedResult:
    """The result of a function of one tensor, in inference mode kept until that tensor changes.

    A source is known by its memory, shape, type and version, which ``load_state_dict`` and most optimisers count up. Fused
    optimisers and writes through ``.data`` leave no trace, so the values of ``source[:, 0]`` are compared as well, and the owner
    calls :meth:`clear` where it learns. Tensors made in inference mode have no version: for them nothing is kept. Neither is
    anything copied or pickled along. Threads may call at the same time.

    What is kept stays in memory, and so does the memory of the source until the next call or :meth:`clear`, even if its owner
    lets it go: else another tensor could take its place and pass for it.

    Args:
        function: of a tensor of at least two dimensions; of a module's top level, where it is to be pickled.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        self._made: _Made | None = None

    # What is traced would be made anew at every call.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, source: Tensor) -> Tensor:
        """The function's result; not to be written to."""
        if not can_cache() or source.device.type == "meta" or source.is_inference():
            return self._function(source)
        # Read once: another thread may replace it meanwhile.
        made = self._made
        if made is None or not made.belongs_to(source):
            some = source[:, 0].detach().clone()
            self._made = made = _Made(source.detach(), source._version, some, self._function(source))
        return made.result

    def clear(self) -> None:
        """Free what is kept."""
        self._made = None

    def __reduce__(self) -> tuple[type[CachedResult], tuple[Callable[[Tensor], Tensor]]]:
        return type(self), (self._function,)
