"""Caches of inference: constants by their arguments, and results by their source tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def can_cache() -> bool:
    """Return whether a result may be stored for later calls.

    True in inference mode, except while tracing, for tensors without data, and under autocast, which may change the precision.
    """
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return False
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        return False
    # No public function reports an active fake tensor mode, but new tensors have another type under it.
    return type(torch.empty(0, device="cpu")) is Tensor


def cached_constant(entries: int) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Decorate a function whose result depends only on its arguments: in inference mode, cache the latest results.

    Results are ordinary tensors, which may meet gradients later. Writing to one is an error at the next call. Thread-safe.

    The function's arguments must be hashable: sizes, dtype and device of the result.

    Args:
        entries: maximum number of results; the least recently used is dropped first.
    """

    def decorate(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @lru_cache(maxsize=entries)
        def compute(*arguments: P.args, **options: P.kwargs) -> tuple[Tensor, int]:
            with torch.inference_mode(False), torch.no_grad():
                result = function(*arguments, **options)
            return result, result._version

        @wraps(function)
        def cached(*arguments: P.args, **options: P.kwargs) -> Tensor:
            without_data = any(isinstance(x, torch.device) and x.type == "meta" for x in (*arguments, *options.values()))
            if without_data or not can_cache():
                return function(*arguments, **options)
            result, version = compute(*arguments, **options)  # type: ignore[arg-type]
            if result._version != version:
                raise RuntimeError(
                    f"a cached result of {function.__qualname__} was written to; expected it unchanged; write to a copy"
                )
            return result

        return cached

    return decorate


@cached_constant(entries=64)
def device_constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as a vector that is filled on the device: a copy from the host would wait for all work queued there."""
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


@dataclass(frozen=True)
class _Entry:
    """Cached result and the state of its source at that time."""

    source: Tensor
    version: int
    first_column: Tensor
    result: Tensor

    def is_current(self, source: Tensor) -> bool:
        cached = self.source
        return (
            source.data_ptr() == cached.data_ptr()
            and source._version == self.version
            and source.dtype == cached.dtype
            and source.device == cached.device
            and source.shape == cached.shape
            and source.stride() == cached.stride()
            and torch.equal(source[:, 0], self.first_column)
        )


class CachedResult:
    """Function of one tensor, whose result is cached in inference mode until that tensor changes.

    A source is identified by its memory, shape, type and version; ``load_state_dict`` and most optimizers increment the version.
    Fused optimizers and writes through ``.data`` do not, so the values of ``source[:, 0]`` are compared as well, and the owner
    calls :meth:`clear` in training. Tensors created in inference mode have no version and are not cached. Copies and pickles
    start empty. Thread-safe.

    The entry holds its source until the next call or :meth:`clear`, even if the owner drops it: otherwise another tensor could
    get the same memory and match.

    Args:
        function: of a tensor of at least two dimensions; defined at the top level of a module where it is to be pickled.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        self._entry: _Entry | None = None

    # A traced graph would compute the result at every call.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, source: Tensor) -> Tensor:
        """Return the function's result, which must not be written to."""
        if not can_cache() or source.device.type == "meta" or source.is_inference():
            return self._function(source)
        # Read once, because another thread may replace it.
        entry = self._entry
        if entry is None or not entry.is_current(source):
            column = source[:, 0].detach().clone()
            self._entry = entry = _Entry(source.detach(), source._version, column, self._function(source))
        return entry.result

    def clear(self) -> None:
        """Drop the cached result."""
        self._entry = None

    def __reduce__(self) -> tuple[type[CachedResult], tuple[Callable[[Tensor], Tensor]]]:
        return type(self), (self._function,)
