"""ONNX: graphs for programs of others, and ONNX Runtime on CPUs; optional packages, imported on first use."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from src.inference.runtime.tracing import export_graph, first_line, host_arrays

EXPORT_NEEDS = ("onnx", "onnxscript", "onnxruntime")
"""Packages of an export; what it wrote needs only the last one."""


def check_installed(packages: Sequence[str] = ("onnxruntime",)) -> None:
    """Raise ``ModuleNotFoundError`` if one of the packages is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"ONNX needs packages that are not installed: pip install {' '.join(missing)}", name=missing[0])


class OnnxGraph:
    """Session of ONNX Runtime at fixed shapes, float32; any number of streams and threads may call it.

    Args:
        model: serialized ONNX model.
        threads: CPU threads; ``None``: as many as torch uses.
    """

    def __init__(self, model: bytes, threads: int | None = None) -> None:
        import onnxruntime

        self.model = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = [port.name for port in self._session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the graph on CPU tensors of its shapes; the results are copies."""
        found = self._session.run(None, dict(zip(self._inputs, host_arrays(inputs), strict=True)))
        return tuple(torch.from_numpy(array) for array in found)

    def save(self, stem: Path) -> None:
        """Write ``<stem>.onnx``, weights included."""
        stem.with_suffix(".onnx").write_bytes(self.model)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ModuleNotFoundError: if ONNX Runtime is not installed.
            ValueError: if it cannot read the file.
        """
        check_installed()
        return cls._of(path.read_bytes(), str(path))

    @classmethod
    def _of(cls, model: bytes, what: str) -> Self:
        try:
            return cls(model)
        # Its errors have no common type.
        except Exception as error:
            raise ValueError(f"{what} cannot be read by ONNX Runtime ({first_line(error)})") from error


def prepare(module: nn.Module, example: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str]) -> OnnxGraph:
    """Convert a module at the shapes of an example; takes up to minutes.

    Args:
        module: in eval mode, on the CPU.
        example: inputs of the module.
        inputs: names of the graph's inputs.
        outputs: names of its outputs.

    Raises:
        ModuleNotFoundError: if a package of ``EXPORT_NEEDS`` is not installed.
        ValueError: if the module cannot be exported, or an operator has no ONNX equivalent.
    """
    check_installed(EXPORT_NEEDS)
    program, name = export_graph(module, example), type(module).__name__
    # It warns of every layer that it does not fold into a constant.
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        # With gradients, attention would be traced in another memory layout.
        with torch.inference_mode(False), torch.no_grad():
            converted: Any = torch.onnx.export(
                program, (), dynamo=True, verbose=False, input_names=list(inputs), output_names=list(outputs)
            )
        model = converted.model_proto.SerializeToString()
    # The exporter raises errors of several types for operators that it lacks.
    except Exception as error:
        raise ValueError(f"{name} cannot be converted to ONNX ({first_line(error)})") from error
    return OnnxGraph._of(model, name)
