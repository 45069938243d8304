import pytest
import torch
from torch import Tensor

from src.models.flow import CopyFlow, CorrelationFlow, DISFlow, FlowEstimator, QueryFlow
from src.models.flow.fusion_head import FusionHead
from src.models.propagator import Propagator
from src.structures import FlowPrediction, MaskPrediction
from tests.inference.tiny import frames, tiny_flow, tiny_propagator, tiny_segmentor


def with_head(name: str) -> Propagator:
    propagator = tiny_propagator(name)
    propagator.flow.add_fusion_head(8)
    return propagator


def carried(model: Propagator) -> tuple[MaskPrediction, Tensor, MaskPrediction, Tensor, FlowPrediction]:
    key_image, image = (frames(4)[number][None] for number in (0, 2))
    with torch.no_grad():
        key = model.segmentor(key_image).final_layer()
        masks, flow = model.propagate(key, key_image, image)
    return key, key_image, masks, image, flow


@pytest.mark.parametrize("name", ["dis", "query", "correlation"])
def test_a_fresh_head_is_the_photometric_rule(name: str) -> None:
    model = with_head(name)
    pair = carried(model)
    learned, photometric = (model.confidence(rule, *pair) for rule in ("learned", "photometric"))
    assert torch.equal(learned, photometric) and 0 < photometric.mean() < 1


def test_bias_and_slope_are_bounded_and_follow_the_cells() -> None:
    head = FusionHead(4)
    last = head.layers[-1]
    error, image, flow = torch.full((1, 10, 13), 2.0), torch.zeros(1, 3, 10, 13), torch.zeros(1, 2, 10, 13)
    for bias, slope in ((3.0, 0.5), (-50.0, 50.0)):
        last.bias.data = torch.tensor([bias, slope])
        expected = 4 * torch.tensor(bias / 4).tanh() - (2 * torch.tensor(slope / 2).tanh()).exp() * 2
        torch.testing.assert_close(head(error, image, flow), expected.expand(1, 10, 13))
    last.weight.data.normal_()
    error[..., 8:] = 9
    bias = head(error, image, flow)
    assert bias.shape == (1, 10, 13) and bias[..., 0].std() < bias.std()


def test_the_confidence_of_the_estimator_is_an_input() -> None:
    model = with_head("correlation")
    head = model.flow.fusion
    assert head is not None
    head.layers[-1].weight.data.normal_()
    key, key_image, masks, image, flow = carried(model)
    assert flow.confidence is not None
    sure = FlowPrediction(flow.segment_flow, flow.pixel_flows, flow.padded_size, torch.ones_like(flow.confidence))
    assert not torch.equal(
        model.confidence("learned", key, key_image, masks, image, flow),
        model.confidence("learned", key, key_image, masks, image, sure),
    )


@pytest.mark.parametrize("name", ["dis", "query", "correlation"])
def test_the_constructor_and_adding_agree(name: str) -> None:
    added = tiny_flow(name)
    added.add_fusion_head(8)
    built = type(added)(**added.config())
    assert built.config() == added.config() and built.config()["fusion_dim"] == 8
    built.load_state_dict(added.state_dict())
    plain = type(added)(**(added.config() | {"fusion_dim": None}))
    assert not any(name.startswith("fusion") for name in plain.state_dict())


def test_the_pixel_flow_of_a_query_flow_shares_its_head() -> None:
    flow = tiny_flow("query")
    flow.add_fusion_head(8)
    assert flow.for_method("pixel").fusion is flow.fusion is not None


def test_an_estimator_without_the_option_takes_no_head() -> None:
    with pytest.raises(ValueError, match="flow is a CopyFlow; expected dis, query"):
        CopyFlow().add_fusion_head(8)


@pytest.mark.parametrize("flow", [DISFlow(fusion_dim=4), CopyFlow()])
def test_parts_name_the_head_where_there_is_one(flow: FlowEstimator) -> None:
    assert ("flow.fusion" in Propagator(tiny_segmentor(), flow).parts()) == isinstance(flow, DISFlow)


def test_the_learned_rule_needs_a_head() -> None:
    with pytest.raises(ValueError, match=r"fusion is learned, but the model's DISFlow has no fusion head; .*stage=fusion"):
        tiny_propagator("dis").check_fusion("learned")
    with pytest.raises(ValueError, match="fusion rule is 'best'"):
        tiny_propagator("dis").check_fusion("best")  # type: ignore[arg-type]


def test_consistency_rejects_what_the_key_frame_does_not_show() -> None:
    """A bright square moves over a texture; behind it, ground appears that the key frame hides."""
    torch.manual_seed(0)
    ground = torch.nn.functional.interpolate(255 * torch.rand(1, 3, 24, 32), size=(96, 128), mode="bicubic").clamp(0, 255).byte()
    square = torch.nn.functional.interpolate(255 * torch.rand(1, 3, 8, 8), size=(32, 32), mode="bicubic").clamp(0, 255).byte()
    key_image, image = ground.clone(), ground.clone()
    key_image[..., 32:64, 40:72] = square
    image[..., 32:64, 52:84] = square
    model = tiny_propagator("dis")
    with torch.no_grad():
        key = model.segmentor(key_image).final_layer()
        masks, flow = model.propagate(key, key_image, image)
        pair = key, key_image, masks, image, flow
        consistent, photometric = (model.confidence(rule, *pair) for rule in ("consistency", "photometric"))
    appears = (slice(None), slice(36, 60), slice(43, 51))
    elsewhere = (slice(None), slice(70, 90), slice(10, 110))
    assert (consistent <= photometric).all()
    assert consistent[appears].mean() < 0.3 < 0.8 < consistent[elsewhere].mean()
    assert (consistent[appears] == 0).float().mean() > 0.5


def test_other_branches_are_listed_as_before() -> None:
    assert set(tiny_flow("correlation").branches()) == {"visibility", "disocclusion", "detail"}
    assert set(CorrelationFlow(fusion_dim=4).branches()) == {"visibility", "fusion"}
    assert set(QueryFlow(query_dim=8, fusion_dim=4).branches()) == {"fusion"}
