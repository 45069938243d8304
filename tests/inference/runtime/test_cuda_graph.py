"""The logic around a CUDA graph, on a recorder that refuses what a capture refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from src.inference.runtime.cuda_graph import CapturedGraph, prepare


class Capturing(TorchDispatchMode):
    """Refuses to read values on the host and to make shapes of them, and records every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError("operation not permitted when stream is capturing")
        return func(*args, **(kwargs or {}))


class FakeRecorder:
    """Replays a call on the memory of its recording: on other memory nothing is read."""

    def __init__(self) -> None:
        self.warm_ups = self.replays = 0

    def record(self, call: Callable[[], tuple[Tensor, ...]], warm_ups: int) -> tuple[Tensor, ...]:
        for _ in range(warm_ups):
            call()
        self.warm_ups, self.call = warm_ups, call
        with Capturing():
            self.outputs = call()
        return self.outputs

    def replay(self) -> None:
        self.replays += 1
        for fixed, value in zip(self.outputs, self.call(), strict=True):
            fixed.copy_(value)


class Scale(nn.Module):
    def forward(self, image: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
        return image * factor + image.new_tensor([1.0, 2.0]), image.sum()


class Branching(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (image if image.sum().item() > 0 else -image,)


def test_inputs_are_copied_in_and_outputs_are_cloned() -> None:
    recorder = FakeRecorder()
    graph = prepare(Scale(), (torch.zeros(3, 2), torch.ones(())), recorder=recorder)
    first = graph(torch.ones(3, 2), torch.tensor(2.0))
    second = graph(torch.full((3, 2), 5.0), torch.tensor(1.0))
    assert recorder.warm_ups > 0 and recorder.replays == 2
    assert torch.equal(first[0], torch.tensor([3.0, 4.0]).expand(3, 2)) and float(first[1]) == 6
    assert torch.equal(second[0], torch.tensor([6.0, 7.0]).expand(3, 2)) and float(second[1]) == 30


def test_a_network_that_waits_for_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be captured as a graph"):
        CapturedGraph(Branching(), (torch.ones(2),), FakeRecorder())


def test_another_shape_is_refused() -> None:
    graph = CapturedGraph(Scale(), (torch.zeros(3, 2), torch.ones(())), FakeRecorder())
    with pytest.raises(ValueError, match=r"input is \(4, 2\); expected \(3, 2\)"):
        graph(torch.zeros(4, 2), torch.ones(()))
