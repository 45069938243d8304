from dataclasses import replace

import pytest
import torch
from torch import Tensor

from src.inference.evaluation.flow.method import FlowMethod
from src.models.flow import CopyFlow, DISFlow
from src.ops.segment_flow import winning_flow
from src.ops.warp import full_size_flow
from src.structures import FlowPrediction
from tests.inference.known_flow import ConstantFlow
from tests.inference.tiny import frames, tiny_flow, tiny_propagator


def test_vectors_come_in_pixels_of_the_image() -> None:
    key, image = frames(2)
    method = FlowMethod(ConstantFlow(-3.0, 1.0))
    flow = method.to_key(method.start(key), image)
    assert torch.equal(flow, torch.tensor([-3.0, 1.0]).view(2, 1, 1).expand(2, 40, 56))


@pytest.mark.parametrize("size", [(40, 56), (37, 50)])
def test_padding_is_cut_off(size: tuple[int, int]) -> None:
    key, image = frames(2, size)
    method = FlowMethod(DISFlow(stride=1))
    flow = method.to_key(method.start(key), image)
    assert flow.shape == (2, *size)
    # The picture drifts by two pixels to the right: its source lies to the left.
    assert flow[0, 8:-8, 8:-8].median() == pytest.approx(-2.0, abs=0.1)


def test_networks_may_have_another_input_size() -> None:
    key, image = frames(2, (80, 112))
    method = FlowMethod(DISFlow(stride=1), short_side=40)
    assert method.start(key).image.shape == (1, 3, 40, 56)
    flow = method.to_key(method.start(key), image)
    assert flow.shape == (2, 80, 112) and flow[0, 16:-16, 16:-16].median() == pytest.approx(-2.0, abs=0.2)


@torch.no_grad()
def test_a_pixel_has_the_flow_of_its_winning_segment() -> None:
    propagator = tiny_propagator("query")
    key, image = frames(2)
    method = FlowMethod(propagator.flow, propagator.segmentor)
    found = method.to_key(method.start(key), image)
    prediction = propagator.segmentor(key[None]).final_layer()
    carried, flow = propagator.propagate(prediction, key[None], image[None])
    assert flow.segment_flow.shape[1] == 6
    torch.testing.assert_close(found, winning_flow(carried, flow)[0])
    # And not, say, the first segment's.
    first = FlowMethod(ConstantFlow(0.0)).to_key(method.start(key), image)
    assert not torch.allclose(found, first)


@torch.no_grad()
def test_the_flow_of_an_image_has_the_detail_of_its_estimator() -> None:
    flow, (key, image) = tiny_flow("correlation"), frames(2)
    found = flow.with_detail(flow(key[None], image[None], torch.zeros(1, 0, 0)))
    assert found.detail is not None and found.detail.abs().max() > 0.01
    method = FlowMethod(flow)
    torch.testing.assert_close(method.to_key(method.start(key), image), full_size_flow(found, (40, 56))[0])


def test_queries_are_those_of_the_segmentor_or_zeros_that_fit() -> None:
    propagator = tiny_propagator("query")
    assert FlowMethod(propagator.flow, propagator.segmentor).queries == (6, 32)
    assert FlowMethod(CopyFlow()).queries == (1, 1)
    alone = FlowMethod(tiny_flow("query"))
    assert alone.queries == (6, 32)
    key, image = frames(2)
    assert alone.estimate(alone.start(key), alone.network_image(image)).segment_flow.shape[1] == 6


@torch.no_grad()
def test_confidence_is_the_maximum_over_segments_at_image_size() -> None:
    key, image = frames(2, (37, 50))
    still = FlowMethod(CopyFlow())
    assert still.confidence(still.start(key), image) is None

    class Half(CopyFlow):
        """Two segments; the left half of the padded image is sure for the second one."""

        def forward(self, *arguments: Tensor) -> FlowPrediction:
            found = super().forward(*arguments)
            sure = torch.zeros(1, 2, 64, 64)
            sure[:, 0], sure[:, 1, :, :32] = 0.25, 1.0
            return replace(found, confidence=sure)

    method = FlowMethod(Half())
    found = method.confidence(method.start(key), image)
    assert found is not None and found.shape == (37, 50)
    assert (found[:, :32] == 1).all() and (found[:, 32:] == 0.25).all()
