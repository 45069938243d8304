"""The seam: pure functions of tensors give the bits of the propagator, and trace as one graph without the CPU kernels."""

import pytest
import torch

from src.models.frame_modules import KeyFrame, NonKeyFrame, carried, flow_tensors
from tests.inference.tiny import frames, tiny_propagator

SIZE = (40, 56)


@pytest.mark.parametrize("flow", ["query", "pixel", "correlation"])
@torch.inference_mode()
def test_the_modules_equal_the_propagator(flow: str) -> None:
    propagator = tiny_propagator(flow)
    first, second = (image[None] for image in frames(2, SIZE))
    expected = propagator.segmentor(first).final_layer()
    features = propagator.flow.encode_key(first)
    masks, moved = propagator.propagate(expected, first, second, features)

    key = KeyFrame(propagator)
    outputs = key(first)
    prediction, cached = key.prediction(outputs, SIZE)
    assert torch.equal(prediction.mask_logits, expected.mask_logits) and prediction.padded_size == (64, 64)
    assert torch.equal(prediction.class_logits, expected.class_logits) and (cached is None) == (features is None)
    found, flows = carried(propagator, prediction, NonKeyFrame(propagator)(second, *outputs[1:]), list(flow_tensors(moved)))
    assert torch.equal(found.mask_logits, masks.mask_logits)
    assert len(flows.pixel_flows) == len(moved.pixel_flows) and (found.disocclusion is None) == (masks.disocclusion is None)
    for name, value in flow_tensors(moved).items():
        assert torch.equal(flow_tensors(flows)[name], value), name


def test_a_flow_without_training_has_no_features() -> None:
    with torch.inference_mode():
        assert len(KeyFrame(tiny_propagator("copy"))(frames(1, SIZE)[0][None])) == 3


def test_an_exported_graph_has_plain_operators_only() -> None:
    propagator, image = tiny_propagator("query"), frames(1, SIZE)[0][None]
    with torch.no_grad():
        program = torch.export.export(KeyFrame(propagator).eval(), (image,), strict=False)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any("grid_sampler" in name for name in names)
    assert not any(
        word in name for name in names for word in ("embedding_bag", "_local_scalar", "autocast", "set_grad", "nonzero")
    )
    with torch.inference_mode():
        for found, expected in zip(program.module()(image), KeyFrame(propagator)(image), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
