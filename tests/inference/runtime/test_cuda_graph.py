"""The logic around a CUDA graph, on a recorder that refuses what a capture refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export.passes import move_to_device_pass
from torch.utils._python_dispatch import TorchDispatchMode

from src.inference.runtime.cuda_graph import CapturedGraph, prepare
from src.inference.runtime.tracing import export_graph
from src.models.frame_modules import KeyFrame, NonKeyFrame
from src.ops.masks import semantic_map
from tests.inference.tiny import frames, tiny_propagator

SIZE = (40, 56)
aten = torch.ops.aten
# In inference mode, the first two are not decomposed.
READS = (aten.item, aten.is_nonzero, aten._local_scalar_dense, aten.nonzero)


class Capturing(TorchDispatchMode):
    """Refuses to read values on the host, to make shapes of them, and to copy tensors from the host.

    Args:
        allowed: copies from the host that are let through.
    """

    def __init__(self, allowed: int = 0) -> None:
        super().__init__()
        self.allowed = allowed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in READS:
            raise RuntimeError("operation not permitted when stream is capturing")
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.to, torch.ops.aten.copy_):
            source = args[1] if func.overloadpacket is torch.ops.aten.copy_ else args[0]
            if source.device.type == "cpu" and result.device.type == "cuda":
                self.allowed -= 1
                if self.allowed < 0:
                    raise RuntimeError("operation not permitted when stream is capturing: copy from the host")
        return result


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


class Constant(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (image + image.new_tensor([1.0, 2.0]),)


def on_cuda(module: nn.Module, *inputs: Tensor) -> Callable[[], Any]:
    """Call a module with its tensors on a CUDA device that need not exist; nothing is computed there."""
    tensors = {name: torch.empty_like(t, device="cuda") for name, t in (*module.named_parameters(), *module.named_buffers())}
    return lambda: torch.func.functional_call(module, tensors, inputs)


@torch.inference_mode()
@pytest.mark.parametrize("flow", ["query", "correlation", "pixel"])
def test_a_frame_in_torch_copies_nothing_from_the_host(flow: str) -> None:
    propagator = tiny_propagator(flow)
    key, nonkey = KeyFrame(propagator).eval(), NonKeyFrame(propagator).eval()
    with FakeTensorMode(allow_non_fake_inputs=True):
        image = torch.empty(1, 3, *SIZE, dtype=torch.uint8, device="cuda")
        with pytest.raises(RuntimeError, match="copy from the host"), Capturing():
            on_cuda(Constant(), torch.empty(2, device="cuda"))()
        call = on_cuda(key, image)
        # The sizes of the levels in transformers' pixel decoder.
        with Capturing(allowed=1):
            outputs = call()
        call = on_cuda(nonkey, image, *outputs[1:])
        with Capturing():
            assert call()[0].device.type == "cuda"
            semantic_map(key.prediction(outputs, SIZE)[0])


@pytest.mark.parametrize("flow", ["query", "correlation"])
def test_a_graph_copies_nothing_from_the_host(flow: str) -> None:
    propagator = tiny_propagator(flow)
    key, nonkey, image = KeyFrame(propagator).eval(), NonKeyFrame(propagator).eval(), frames(1, SIZE)[0][None]
    with torch.inference_mode():
        carry = (image, *key(image)[1:])
    for module, example in ((key, (image,)), (nonkey, carry)):
        program = export_graph(module, example)
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            network = move_to_device_pass(program, "cuda:0").module()
            inputs = [torch.empty_like(tensor, device="cuda:0") for tensor in example]
            with Capturing():
                assert network(*inputs)[0].device.type == "cuda"


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
