"""CUDA graphs: all kernels of a frame are started at once, which otherwise takes longer than they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from src.inference.runtime.tracing import export_graph, first_line

_WARM_UPS = 3


class Recorder(Protocol):
    """Records the kernels of a call, to run them again on the same memory."""

    def record(self, call: Callable[[], tuple[Tensor, ...]], warm_ups: int) -> tuple[Tensor, ...]:
        """Run a call some times, then record it once, and return its outputs, which :meth:`replay` overwrites."""

    def replay(self) -> None:
        """Run the recorded kernels."""


class CudaRecorder:
    """Recorder of ``torch.cuda.graph``."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    def record(self, call: Callable[[], tuple[Tensor, ...]], warm_ups: int) -> tuple[Tensor, ...]:
        """Warm up on a side stream, since libraries allocate and select kernels in their first calls, then capture."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(warm_ups):
                call()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(self._graph):
            return call()

    def replay(self) -> None:
        """Run the captured kernels on the current stream."""
        self._graph.replay()


class CapturedGraph:
    """Recorded network of fixed shapes: inputs are copied in and outputs are cloned, so that any number of streams may call it.

    Args:
        call: network of tensors.
        example: inputs of the network, on its device.
        recorder: of the device.

    Raises:
        ValueError: if the network cannot be recorded, for example because it reads a value of a tensor.
    """

    def __init__(self, call: Callable[..., tuple[Tensor, ...]], example: Sequence[Tensor], recorder: Recorder) -> None:
        self._inputs = tuple(tensor.clone() for tensor in example)
        self._recorder = recorder
        try:
            self._outputs = recorder.record(lambda: tuple(call(*self._inputs)), _WARM_UPS)
        except RuntimeError as error:
            raise ValueError(f"the network cannot be captured as a graph ({first_line(error)})") from error

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network.

        Raises:
            ValueError: if an input has another shape than the example.
        """
        for fixed, given in zip(self._inputs, inputs, strict=True):
            if given.shape != fixed.shape:
                raise ValueError(f"input is {tuple(given.shape)}; expected {tuple(fixed.shape)}, the shape of the graph")
            fixed.copy_(given, non_blocking=True)
        self._recorder.replay()
        return tuple(output.clone() for output in self._outputs)


def prepare(
    module: nn.Module, example: Sequence[Tensor], autocast: torch.dtype | None = None, recorder: Recorder | None = None
) -> CapturedGraph:
    """Export a module and capture it at the shapes of an example.

    Args:
        module: in eval mode, on the device of the example.
        example: inputs of the module.
        autocast: precision of the networks; ``None``: float32.
        recorder: ``None``: that of CUDA.

    Raises:
        ValueError: if the module cannot be exported or captured.
    """
    # Imported here, because training does not need it.
    from torch.export.passes import move_to_device_pass

    program = export_graph(module, example, autocast)
    # Constants of the code are on the CPU, and a capture refuses their copies.
    network: nn.Module = move_to_device_pass(program, str(example[0].device)).module()
    return CapturedGraph(network, example, recorder or CudaRecorder())
