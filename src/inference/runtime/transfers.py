"""Transfers between the host and a CUDA device that the host does not wait for; on a CPU, nothing is copied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

ResultT = TypeVar("ResultT")


def is_queued(device: torch.device) -> bool:
    """Return whether a device works through a queue, which the host fills ahead of it."""
    return device.type == "cuda"


def upload(images: Tensor, device: torch.device) -> Tensor:
    """Return images on a device; to CUDA they are copied from pinned memory, since other memory makes the host wait."""
    if not is_queued(device) or images.device.type != "cpu":
        return images.to(device)
    return images.pin_memory().to(device, non_blocking=True)


def run_beside(device: torch.device, is_on_host: bool, prepare: Callable[[], tuple[Tensor, ResultT]]) -> tuple[Tensor, ResultT]:
    """Prepare a frame for its networks beside those of the frames before, in a stream of its own.

    A decision that reads a value of the frame then waits only for the upload. Elsewhere than on CUDA this is ``prepare()``.

    Args:
        device: of the networks.
        is_on_host: whether the frame comes from the host. Another one may depend on work queued before, and keeps its order.
        prepare: returns the frame on the device and what was decided about it. Only the frame is read by the networks.
    """
    if not is_queued(device):
        return prepare()
    networks, side = torch.cuda.current_stream(device), _side_stream(device)
    if not is_on_host:
        frame, decided = prepare()
        side.wait_stream(networks)
        return frame, decided
    with torch.cuda.stream(side):
        frame, decided = prepare()
    networks.wait_stream(side)
    # Else its memory would be free for the next frame while the networks read it.
    frame.record_stream(networks)
    return frame, decided


class Mark:
    """Point of time on a device: behind all work that is queued now."""

    def __init__(self, device: torch.device) -> None:
        self._event: Any = None
        if is_queued(device):
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Wait for the work before this point, and not for later work."""
        if self._event is not None:
            self._event.synchronize()

    def seconds_until(self, later: Mark) -> float:
        """Return the time to a later point that has been waited for; CUDA only."""
        return float(self._event.elapsed_time(later._event)) / 1e3


class Arriving(Generic[ResultT]):
    """Result whose tensors are on their way to the host.

    Args:
        tensors: on ``device``; ``None`` stays.
        device: device of the networks.
        finish: makes the result of the tensors on the host and the mark behind their copies.
    """

    def __init__(
        self, tensors: Sequence[Tensor | None], device: torch.device, finish: Callable[[list[Tensor | None], Mark], ResultT]
    ) -> None:
        self._copies = [None if tensor is None else _to_host(tensor) for tensor in tensors]
        self._finish = finish
        self.mark = Mark(device)

    def fetch(self) -> ResultT:
        """Wait for the tensors and return the result."""
        self.mark.wait()
        return self._finish(self._copies, self.mark)


def one_late(results: Iterable[Arriving[ResultT]]) -> Iterator[ResultT]:
    """Yield every result once the work of the next one is queued, so that the device is never idle; none is lost by an error."""
    iterator, last = iter(results), None
    while True:
        try:
            following = next(iterator, None)
        except Exception:
            if last is not None:
                yield last.fetch()
            raise
        if last is not None:
            yield last.fetch()
        if following is None:
            return
        last = following


def _to_host(tensor: Tensor) -> Tensor:
    # Such a copy of a CUDA tensor is in pinned memory, and holds anything until the device has made it.
    return tensor.to("cpu", non_blocking=True)


@cache
def _side_stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
