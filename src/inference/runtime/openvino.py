"""OpenVINO, for CPUs: an optional package, imported on first use."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from src.inference.runtime.tracing import export_graph, first_line, host_arrays

Precision = Literal["f32", "bf16"]
_MISSING = "OpenVINO is not installed; runtime=openvino needs it: pip install openvino"


def is_installed() -> bool:
    """Return whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def check_installed() -> None:
    """Raise ``ModuleNotFoundError`` if OpenVINO is not installed."""
    if not is_installed():
        raise ModuleNotFoundError(_MISSING, name="openvino")


def import_openvino() -> Any:
    """Import and return OpenVINO, without its telemetry: that would send requests, write to the home folder and fork the process.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    check_installed()
    # Its converter takes a stand-in where this import fails.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def _core() -> Any:
    """Return the only ``Core`` of the process.

    OpenVINO's CPU plugin gives the creating thread a stack for signal handlers, unmapped with the last reference to the plugin.
    In another thread that leaves the first one without: its next signal, such as Ctrl-C, would end the process.
    """
    return import_openvino().Core()


class OpenVinoGraph:
    """Compiled graph of fixed shapes; any number of streams and threads may call it.

    Args:
        model: model of OpenVINO with static shapes.
        precision: of its arithmetic; inputs and outputs stay float32.
        threads: CPU threads; ``None``: as many as torch uses.
    """

    def __init__(self, model: Any, precision: Precision, threads: int | None = None) -> None:
        self.model = model
        # Without the hint, CPUs with bfloat16 instructions would use them for float32 graphs.
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
        }
        self._request = _core().compile_model(model, "CPU", settings).create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the graph on CPU tensors of its shapes; the results are copies."""
        with self._lock:
            found = self._request.infer(host_arrays(inputs), share_inputs=True)
        return tuple(torch.from_numpy(array) for array in found.to_tuple())

    def save(self, stem: Path) -> None:
        """Write ``<stem>.xml`` and its weights ``<stem>.bin``, float32."""
        import_openvino().save_model(self.model, stem.with_suffix(".xml"), compress_to_fp16=False)

    @classmethod
    def load(cls, path: Path, precision: Precision) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ModuleNotFoundError: if OpenVINO is not installed.
            ValueError: if it cannot read the file.
        """
        openvino = import_openvino()
        try:
            return cls(_core().read_model(path), precision)
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read by OpenVINO {openvino.__version__} ({first_line(error)})") from error


def prepare(
    module: nn.Module, example: Sequence[Tensor], precision: Precision, inputs: Sequence[str], outputs: Sequence[str]
) -> OpenVinoGraph:
    """Convert and compile a module at the shapes of an example; takes up to a minute.

    Args:
        module: in eval mode, on the CPU.
        example: inputs of the module.
        precision: see :class:`OpenVinoGraph`.
        inputs: names of the graph's inputs.
        outputs: names of its outputs.

    Raises:
        ModuleNotFoundError: if OpenVINO is not installed.
        ValueError: if the module cannot be exported, or OpenVINO lacks an operator.
    """
    openvino = import_openvino()
    program = export_graph(module, example)
    try:
        model = openvino.convert_model(program)
    # The converter raises errors of several types that are no RuntimeError.
    except Exception as error:
        raise ValueError(f"OpenVINO cannot convert {type(module).__name__} ({first_line(error)})") from error
    model.reshape({port: list(tensor.shape) for port, tensor in zip(model.inputs, example, strict=True)})
    for ports, names in ((model.inputs, inputs), (model.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    return OpenVinoGraph(model, precision)
