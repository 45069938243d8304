"""Laws of the cost of a frame: the published figures, and nothing of the model touched."""

import pytest
import torch

from src.measure.cost import FrameCost, frame_cost
from src.models.flow import CopyFlow, DISFlow, QueryFlow
from src.models.flow.base import FlowEstimator
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor

QK_480P = 0.653
"""GFLOPs of the masked attention's query-key products, which the published key figures leave out."""


def tiny(flow: FlowEstimator) -> Propagator:
    segmentor = Mask2FormerSegmentor.from_backbone(
        "tiny",
        num_classes=5,
        num_queries=7,
        hidden_dim=32,
        feedforward_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        pretrained_backbone=False,
    )
    return Propagator(segmentor, flow)


def test_resnet50_has_the_cost_of_the_paper() -> None:
    """The other eleven models: tests/commands/test_benchmark.py."""
    with torch.device("meta"):
        segmentor = Mask2FormerSegmentor.from_backbone("resnet50", num_classes=124, pretrained_backbone=False)
    cost = frame_cost(Propagator(segmentor, QueryFlow()), (480, 853))
    assert cost.key == pytest.approx(104.39 + QK_480P, rel=2e-3)
    # Half of the fusing convolution is done once instead of once per query, which saves 0.15 %.
    assert cost.propagate == pytest.approx(15.74, rel=5e-3)
    assert cost.post == pytest.approx(5.31, rel=2e-3)
    assert cost.average(5) == pytest.approx(38.9, rel=2e-3)
    assert cost.params_m["segmentor"] == pytest.approx(44.035, abs=1e-3)
    assert cost.params_m["flow"] == pytest.approx(40.085, abs=1e-3)


@pytest.mark.parametrize("flow", [CopyFlow(), DISFlow(stride=4)])
def test_flows_without_parameters_cost_their_warp_with_all_masks(flow: FlowEstimator) -> None:
    cost = frame_cost(tiny(flow), (61, 97))
    grid = (64 // 4) * (128 // 4)
    # Seven masks are read, and both components of the one flow are resized: to the masks' grid, or from the image's.
    # Dense flow is kept as a detail beside the resized one, and read at every pixel of the image.
    dense = 2 * 4 * 2 * 64 * 128 + 4 * 7 * 61 * 97 if isinstance(flow, DISFlow) else 0
    assert round(cost.propagate * 1e9) == 4 * 7 * grid + 4 * 2 * grid + dense
    assert round(cost.post * 1e9) == 4 * 7 * 64 * 128 + 5 * 7 * 64 * 128
    assert cost.params_m["flow"] == 0


@pytest.mark.parametrize("flow", [CopyFlow(), DISFlow(stride=4, fusion_dim=4)])
def test_a_second_key_frame_costs_a_second_flow_warp_and_set_of_queries(flow: FlowEstimator) -> None:
    rules = ("linear", "photometric", "consistency", *(["learned"] if flow.fusion else []))
    cost = frame_cost(tiny(flow), (61, 97), rules)  # type: ignore[arg-type]
    assert cost.frame(False, 1, "linear") == cost.frame(False, 1) == cost.propagate + cost.post
    assert cost.frame(False, 2, "linear") == pytest.approx(2 * (cost.propagate + cost.post))
    assert cost.frame(True, 0) == cost.key + cost.post
    assert cost.frame(True, 2, "linear") == pytest.approx(cost.key + 2 * cost.propagate + 3 * cost.post)
    # A fused key frame carried on: one flow, the masks of both.
    assert cost.propagate + 2 * cost.post < cost.frame(False, 1, "linear", 2) < 2 * (cost.propagate + cost.post) + 0.001
    # The warp of the key image, 4 per value, and the flow of every pixel.
    assert (cost.fused["photometric"].carry - cost.fused["linear"].carry) * 1e9 >= 4 * 3 * 61 * 97
    assert cost.fused["consistency"].carry > cost.fused["photometric"].carry
    if flow.fusion:
        assert cost.fused["learned"].carry - cost.fused["photometric"].carry >= 2 * 9 * 4 * 4 * 16 * 24 / 1e9
    with pytest.raises(KeyError):
        frame_cost(tiny(flow), (61, 97)).frame(False, 2, "linear")


def test_the_model_is_unchanged() -> None:
    model = tiny(QueryFlow(32, 7, (4, 4, 4, 4, 4, 4), 8, 2, 8, 1, (4, 4, 4, 4), 8))
    image = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        prediction, _ = model.eval()(image, image.flip(3))
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    frame_cost(model, (64, 64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    # transformers keeps position embeddings in a cache of the class: one without data must never come back from it.
    with torch.no_grad():
        again, _ = model.eval()(image, image.flip(3))
    assert torch.equal(again.mask_logits_per_layer, prediction.mask_logits_per_layer)


def test_the_average_follows_the_formula() -> None:
    cost = FrameCost(key=100.0, propagate=10.0, post=5.0, params_m={})
    assert cost.average(1) == 105
    assert cost.average(5) == (100 + 4 * 10) / 5 + 5
    with pytest.raises(ValueError, match="key_interval is 0"):
        cost.average(0)
