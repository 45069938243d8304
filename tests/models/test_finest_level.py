"""Law: the pixel decoder gives what transformers' gives, with its names, in inference and in training."""

import copy

import torch
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

from src.models.finest_level import speed_up_finest_level


def test_the_mask_features_are_those_of_transformers() -> None:
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        feature_size=32, mask_feature_size=32, num_attention_heads=4, encoder_feedforward_dim=48, encoder_layers=1
    )
    theirs = Mask2FormerPixelDecoder(config, [6, 8, 10, 12]).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    ours = copy.deepcopy(theirs)
    # A copy's lists would hold copies of its layers.
    ours.lateral_convolutions, ours.output_convolutions = [ours.adapter_1], [ours.layer_1]
    speed_up_finest_level(ours)
    features = [torch.randn(2, width, 32 // 2**i, 48 // 2**i) for i, width in enumerate((6, 8, 10, 12))]
    expected = theirs(features)
    with torch.inference_mode():
        found = ours(features)
    assert found.mask_features.is_contiguous()
    torch.testing.assert_close(found.mask_features, expected.mask_features, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(ours(features).mask_features, expected.mask_features)
    assert list(ours.state_dict()) == list(theirs.state_dict())
