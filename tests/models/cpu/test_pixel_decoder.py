"""Law: features and state dict equal those of transformers' pixel decoder, in inference and in training."""

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder, Mask2FormerPixelDecoderEncoderLayer

from src.models.cpu import pixel_decoder
from src.models.cpu.deformable_attention import DeformableAttention
from src.models.cpu.mask_features import MaskFeatures
from src.models.cpu.pixel_decoder import EncoderLayer, PixelDecoder

WIDTHS = (6, 8, 10, 12)
SHAPES = [(2, 3), (4, 6), (8, 11)]
TOKENS = sum(height * width for height, width in SHAPES)


@pytest.fixture
def theirs() -> Mask2FormerPixelDecoder:
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        feature_size=32, mask_feature_size=24, num_attention_heads=4, encoder_feedforward_dim=48, encoder_layers=2
    )
    decoder = Mask2FormerPixelDecoder(config, list(WIDTHS)).eval()
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    return decoder


def replaced(decoder: Mask2FormerPixelDecoder) -> PixelDecoder:
    ours = copy.deepcopy(decoder)
    # The copy's lists contain further copies of its layers.
    ours.lateral_convolutions, ours.output_convolutions = [ours.adapter_1], [ours.layer_1]
    return PixelDecoder(ours)


def pyramid(height: int, width: int) -> list[Tensor]:
    return [torch.randn(2, channels, -(-height // 2**i), -(-width // 2**i)) for i, channels in enumerate(WIDTHS)]


def test_features_equal_those_of_transformers(theirs: Mask2FormerPixelDecoder) -> None:
    ours, features = replaced(theirs), pyramid(32, 48)
    copies = [feature.clone() for feature in features]
    expected = theirs(features)
    with torch.inference_mode():
        found = ours(features)
        assert isinstance(found.mask_features, MaskFeatures)
        mask_features = found.mask_features.projected()
    torch.testing.assert_close(mask_features, expected.mask_features, atol=2e-5, rtol=1e-5)
    for one, other in zip(found.multi_scale_features, expected.multi_scale_features, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)
    # The input is not overwritten.
    assert all(one.equal(other) for one, other in zip(features, copies, strict=True))
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("fused", [False, True])
def test_trained_weights_are_used(theirs: Mask2FormerPixelDecoder, fused: bool) -> None:
    ours, features = replaced(theirs), pyramid(32, 48)
    with torch.inference_mode():
        ours(features)
    ours(features).mask_features.square().mean().backward()
    torch.optim.AdamW(ours.parameters(), lr=0.01, fused=fused).step()
    theirs.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        found = ours(features).mask_features.projected()
    torch.testing.assert_close(found, theirs(features).mask_features, atol=2e-5, rtol=1e-5)


def test_with_gradients_it_uses_transformers_code(theirs: Mask2FormerPixelDecoder) -> None:
    ours, features = replaced(theirs), pyramid(32, 48)
    torch.testing.assert_close(ours(features).mask_features, theirs(features).mask_features, atol=1e-6, rtol=1e-6)


def test_sizes_that_do_not_double_use_transformers_code(theirs: Mask2FormerPixelDecoder) -> None:
    ours, features = replaced(theirs), pyramid(31, 45)
    expected = theirs(features)
    with torch.inference_mode():
        found = ours(features)
    torch.testing.assert_close(found.mask_features, expected.mask_features, atol=2e-5, rtol=1e-5)


def test_half_precision_uses_transformers_code(theirs: Mask2FormerPixelDecoder) -> None:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert isinstance(replaced(theirs)(pyramid(32, 48)).mask_features, Tensor)


@pytest.mark.parametrize("padded", [False, True])
def test_encoder_layer_equals_that_of_transformers(monkeypatch: pytest.MonkeyPatch, padded: bool) -> None:
    torch.manual_seed(0)
    config = Mask2FormerConfig(feature_size=32, num_attention_heads=4, encoder_feedforward_dim=48)
    theirs = Mask2FormerPixelDecoderEncoderLayer(config).eval()
    nn.init.normal_(theirs.self_attn.sampling_offsets.weight, std=1.0)
    ours = copy.deepcopy(theirs)
    ours.self_attn = DeformableAttention(ours.self_attn)
    ours = EncoderLayer(ours)
    monkeypatch.setattr(pixel_decoder, "_BLOCK", 17)
    tokens, positions = torch.randn(2, TOKENS, 32), torch.randn(2, TOKENS, 32)
    references = torch.rand(2, TOKENS, 3, 2)
    mask = torch.zeros(2, TOKENS, dtype=torch.bool)
    mask[:, ::7] = padded
    arguments = {"reference_points": references, "spatial_shapes_list": SHAPES}
    with torch.no_grad():
        expected = theirs(tokens, mask, positions, **arguments)[0]
    with torch.inference_mode():
        found = ours(tokens, mask, positions, **arguments)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    # With gradients, transformers' code runs.
    torch.testing.assert_close(ours(tokens, mask, positions, **arguments)[0], expected, atol=1e-5, rtol=1e-5)
