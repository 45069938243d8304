"""Export of a module as one graph of a fixed size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Graph = Callable[..., tuple[Tensor, ...]]
"""Prepared network: the tensors of the module's outputs for those of its inputs, of the size of the example."""


class TorchGraph:
    """Exported program of torch, for programs of others.

    Args:
        program: result of :func:`export_graph`.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self._program, self._module = program, program.module()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the program on tensors of its shapes."""
        return tuple(self._module(*inputs))

    def save(self, stem: Path) -> None:
        """Write ``<stem>.pt2``."""
        torch.export.save(self._program, stem.with_suffix(".pt2"))


def export_graph(
    module: nn.Module, example: Sequence[Tensor], autocast: torch.dtype | None = None
) -> torch.export.ExportedProgram:
    """Export a module of tensors with the shapes and types of an example.

    Args:
        module: in eval mode.
        example: inputs of the module.
        autocast: precision of the graph, whose casts are then part of it; ``None``: that of the module.

    Raises:
        ValueError: if the module cannot be traced as one graph.
    """
    device = example[0].device.type
    precision = nullcontext() if autocast is None else torch.autocast(device, dtype=autocast)
    with torch.inference_mode(False), torch.no_grad(), precision, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Tensors of inference mode cannot be traced.
        inputs = tuple(tensor.clone() for tensor in example)
        try:
            program = torch.export.export(module, inputs, strict=False)
            return program if autocast is None else program.run_decompositions({})
        # The exporter raises errors of many types for code that it cannot trace.
        except Exception as error:
            raise ValueError(f"{type(module).__name__} cannot be exported as one graph ({first_line(error)})") from error


def host_arrays(inputs: Sequence[Tensor]) -> list[Any]:
    """Return CPU tensors as arrays; features of a key frame of eager torch may be bfloat16, which become float32."""
    return [(tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy() for tensor in inputs]


def first_line(error: BaseException) -> str:
    """Return the type and the first line of an error of a library."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
