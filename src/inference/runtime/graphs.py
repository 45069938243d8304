"""Both networks of a frame, prepared by a runtime for one image size."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from src.inference.runtime import cuda_graph, openvino
from src.inference.runtime.tracing import Graph, TorchGraph, export_graph
from src.models.frame_modules import KEY_OUTPUTS, NONKEY_INPUTS, KeyFrame, NonKeyFrame, flow_tensors
from src.models.propagator import Propagator

Kind = Literal["graph", "openvino", "torch_export"]


@dataclass
class Graphs:
    """Prepared networks of one image size.

    Attributes:
        key: network of :class:`KeyFrame`.
        nonkey: network of :class:`NonKeyFrame`; ``None`` for a flow without training, which stays eager.
        names: of the flow's tensors.
        unchecked: kinds of frames that have not been compared with eager torch.
    """

    key: Graph
    nonkey: Graph | None
    names: list[str]
    unchecked: set[str] = field(default_factory=lambda: {"key", "nonkey"})

    def run(self, graph: Graph, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run one of the networks on each image of a batch."""
        if len(inputs[0]) == 1:
            return graph(*inputs)
        rows = [graph(*(tensor[row : row + 1] for tensor in inputs)) for row in range(len(inputs[0]))]
        return tuple(torch.cat(columns) for columns in zip(*rows, strict=True))


@torch.inference_mode()
def convert(propagator: Propagator, kind: Kind, image: Tensor, autocast: torch.dtype | None = None) -> Graphs:
    """Prepare the networks for images like ``image``, (1, 3, H, W), RGB 0..255; takes up to a minute.

    Args:
        propagator: in eval mode.
        kind: runtime.
        image: example.
        autocast: precision of the networks; non-key frames of OpenVINO stay float32, since bfloat16 would move masks.

    Raises:
        ValueError: if a network cannot be exported or converted.
    """
    key, nonkey, flow = KeyFrame(propagator).eval(), NonKeyFrame(propagator).eval(), propagator.flow
    with torch.autocast(image.device.type, autocast, enabled=autocast is not None and kind != "openvino"):
        outputs = key(image)
        carry = (image, *outputs[1:])
        found = None if flow.training_free else propagator.flow(image, image, outputs[2])
    names = [] if found is None else list(flow_tensors(found))
    features = [f"flow_feature_{number}" for number in range(len(outputs) - len(KEY_OUTPUTS))]
    if kind == "graph":
        captured = None if found is None else cuda_graph.prepare(nonkey, carry, autocast)
        return Graphs(cuda_graph.prepare(key, (image,), autocast), captured, names)
    if kind == "torch_export":
        second = None if found is None else TorchGraph(export_graph(nonkey, carry, autocast))
        return Graphs(TorchGraph(export_graph(key, (image,), autocast)), second, names)
    first = openvino.prepare(key, (image,), precision_of(autocast), ("image",), (*KEY_OUTPUTS, *features))
    if found is None:
        return Graphs(first, None, names)
    inputs, results = (*NONKEY_INPUTS, *features), ("propagated_mask_logits", *names)
    return Graphs(first, openvino.prepare(nonkey, carry, "f32", inputs, results), names)


def precision_of(autocast: torch.dtype | None) -> openvino.Precision:
    """Return OpenVINO's name of a precision."""
    return "f32" if autocast is None else "bf16"
