"""Laws of the base class: images are normalized before they are padded, and configurations are complete."""

import pytest
import torch
from torch import nn

from src.models.segmentors.base import float32_under_autocast, project_in_float32
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.models.segmentors.maskformer import MaskFormerSegmentor
from tests.models.families import network, picture


@pytest.fixture
def segmentor(build_segmentor) -> Mask2FormerSegmentor:
    return build_segmentor().eval()


@pytest.mark.parametrize("divisor", [32, 48])
def test_the_padding_is_zero_and_the_image_is_normalized_at_its_top_left(segmentor, divisor):
    segmentor.size_divisor = divisor
    image = picture(50, 70)
    padded, size = segmentor.preprocess(image)
    assert size == (50, 70) and padded.shape == (2, 3, -(-50 // divisor) * divisor, -(-70 // divisor) * divisor)
    torch.testing.assert_close((padded[..., :50, :70] * segmentor.image_std + segmentor.image_mean) * 255, image.float())
    assert padded[..., 50:, :].eq(0).all() and padded[..., 70:].eq(0).all()


def test_an_image_of_one_cell_is_refused_by_its_size(segmentor):
    with pytest.raises(ValueError, match="image of 20x32: expected a side of more than 32 pixels"):
        segmentor(picture(20, 32, batch=1))
    assert segmentor(picture(20, 33, batch=1)).padded_size == (32, 64)


def test_bytes_and_floats_are_the_same_image(segmentor):
    image = picture()
    with torch.no_grad():
        assert torch.equal(segmentor(image).mask_logits, segmentor(image.float()).mask_logits)


def test_a_config_of_another_architecture_or_without_a_field_is_refused(segmentor):
    config = segmentor.config()
    with pytest.raises(ValueError, match="model_type is 'mask2former'; expected 'maskformer'"):
        MaskFormerSegmentor.from_config(config)
    del config["num_queries"]
    with pytest.raises(ValueError, match="config of a mask2former: num_queries missing or unknown"):
        Mask2FormerSegmentor.from_config(config)


def test_a_config_is_rebuilt_from_its_fields_and_wrong_types_are_refused(segmentor):
    fields = segmentor.network_fields(segmentor.network.config)
    config = Mask2FormerSegmentor.network_config({**fields, "num_queries": 7}, 3)
    assert Mask2FormerSegmentor.network_fields(config) == {**fields, "num_queries": 7} and config.num_labels == 3
    with pytest.raises(ValueError, match="invalid mask2former configuration"):
        Mask2FormerSegmentor.network_config({**fields, "num_queries": "many"}, 3)
    with pytest.raises(ValueError, match="backbone type is 'dinov2'"):
        Mask2FormerSegmentor.network_config({**fields, "backbone_config": {"model_type": "dinov2"}}, 3)


@pytest.mark.parametrize("family", ["mask2former", "maskformer"])
def test_the_unused_norm_of_swin_is_the_only_parameter_without_a_gradient(family):
    kind = {"mask2former": Mask2FormerSegmentor, "maskformer": MaskFormerSegmentor}[family]
    segmentor = kind(network(family)).train()
    prediction = segmentor(picture())
    (prediction.mask_logits_per_layer.square().mean() + prediction.class_logits_per_layer.square().mean()).backward()
    without = {parameter for parameter in segmentor.parameters() if parameter.grad is None}
    assert without == set(segmentor.unused_parameters()) and len(without) == 2


def test_projections_return_float32_under_autocast_only():
    decoder = nn.Module()
    decoder.input_projections = nn.ModuleList([nn.Conv2d(3, 4, 1)])
    project_in_float32(decoder)
    image = torch.randn(1, 3, 5, 5)
    half = image.bfloat16()
    assert float32_under_autocast(half) is half
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder.input_projections[0](image).dtype == torch.float32
        assert float32_under_autocast(half).dtype == torch.float32
