"""Both networks of a frame, prepared by a runtime for one image size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from src.inference.runtime import cuda_graph, onnx, openvino
from src.inference.runtime.tracing import Graph, TorchGraph, export_graph
from src.models.frame_modules import KEY_OUTPUTS, NONKEY_INPUTS, KeyFrame, NonKeyFrame, flow_tensors
from src.models.propagator import Propagator
from src.models.segmentors.dense import DenseSegmentor
from src.ops.device import milliseconds

Kind = Literal["graph", "onnx", "openvino", "torch_export"]
_TIMED_CALLS = 3


@dataclass
class Graphs:
    """Prepared networks of one image size.

    Attributes:
        key: network of :class:`KeyFrame`; ``None``: eager torch.
        nonkey: network of :class:`NonKeyFrame`; ``None``: eager torch, as for a flow without training.
        names: of the flow's tensors.
        milliseconds: least time of each kind of frame in eager torch and as a graph, ``{"key": {"eager": 9.0, "graph": 5.0}}``.
        unchecked: kinds of frames that have not been compared with eager torch.
        folder: folder that holds them; ``None``: none.
        hashes: SHA-256 of its files.
    """

    key: Graph | None
    nonkey: Graph | None
    names: list[str]
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)
    unchecked: set[str] = field(default_factory=lambda: {"key", "nonkey"})
    folder: Path | None = None
    hashes: Mapping[str, object] = field(default_factory=dict)

    def run(self, graph: Graph, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run one of the networks on each image of a batch."""
        if len(inputs[0]) == 1:
            return graph(*inputs)
        rows = [graph(*(tensor[row : row + 1] for tensor in inputs)) for row in range(len(inputs[0]))]
        return tuple(torch.cat(columns) for columns in zip(*rows, strict=True))

    def faster(self) -> "Graphs":
        """Return these networks without those that are slower than eager torch."""
        slow = slower(self.milliseconds)
        return replace(self, key=None if "key" in slow else self.key, nonkey=None if "nonkey" in slow else self.nonkey)


def slower(milliseconds: Mapping[str, Mapping[str, float]]) -> set[str]:
    """Return the kinds of frames whose graph takes longer than eager torch; the argument is that of :class:`Graphs`."""
    return {frame for frame, ms in milliseconds.items() if ms["graph"] > ms["eager"]}


@torch.inference_mode()
def convert(propagator: Propagator, kind: Kind, image: Tensor, autocast: torch.dtype | None = None) -> Graphs:
    """Prepare the networks for images like ``image``, (1, 3, H, W), RGB 0..255, and time them; takes up to a minute.

    Args:
        propagator: in eval mode.
        kind: runtime.
        image: example.
        autocast: precision of the networks; ``None``: float32, as ``onnx`` requires. Non-key frames of OpenVINO stay
            float32, since bfloat16 would move masks.

    Raises:
        ModuleNotFoundError: if a package of the runtime is not installed.
        ValueError: if a network cannot be exported or converted.
    """
    if isinstance(propagator.segmentor, DenseSegmentor):
        raise ValueError("the segmentor is dense; expected one with queries, as only those are exported; use runtime=eager")
    key, nonkey, flow = KeyFrame(propagator).eval(), NonKeyFrame(propagator).eval(), propagator.flow
    with torch.autocast(image.device.type, autocast, enabled=autocast is not None and kind != "openvino"):
        outputs = key(image)
        carry = (image, *outputs[1:])
        found = None if flow.training_free else propagator.flow(image, image, outputs[2])
    names = [] if found is None else list(flow_tensors(found))
    features = [f"flow_feature_{number}" for number in range(len(outputs) - len(KEY_OUTPUTS))]
    first = _prepared(kind, key, (image,), autocast, ("image",), (*KEY_OUTPUTS, *features))
    graphs = Graphs(first, None, names)
    calls: dict[str, tuple[nn.Module, Graph, Sequence[Tensor]]] = {"key": (key, first, (image,))}
    if found is not None:
        own = None if kind == "openvino" else autocast
        results = ("propagated_mask_logits", *names)
        graphs.nonkey = _prepared(kind, nonkey, carry, own, (*NONKEY_INPUTS, *features), results)
        calls["nonkey"] = nonkey, graphs.nonkey, carry
    if kind != "torch_export":
        for frame, (module, graph, inputs) in calls.items():
            with torch.autocast(image.device.type, autocast, enabled=autocast is not None):
                eager_ms = _least_ms(module, inputs)
            graphs.milliseconds[frame] = {"eager": eager_ms, "graph": _least_ms(graph, inputs)}
    return graphs


def _prepared(
    kind: Kind,
    module: nn.Module,
    example: Sequence[Tensor],
    autocast: torch.dtype | None,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Graph:
    match kind:
        case "graph":
            return cuda_graph.prepare(module, example, autocast)
        case "torch_export":
            return TorchGraph(export_graph(module, example, autocast))
        case "onnx":
            return onnx.prepare(module, example, inputs, outputs)
        case "openvino":
            return openvino.prepare(module, example, precision_of(autocast), inputs, outputs)


def _least_ms(call: Graph, inputs: Sequence[Tensor]) -> float:
    return min(milliseconds(lambda: call(*inputs))[0] for _ in range(_TIMED_CALLS))


def precision_of(autocast: torch.dtype | None) -> openvino.Precision:
    """Return OpenVINO's name of a precision."""
    return "f32" if autocast is None else "bf16"
