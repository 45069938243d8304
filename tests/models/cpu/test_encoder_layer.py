"""Law: block by block, the layer equals transformers' layer for all tokens at once."""

import copy

import pytest
import torch
from torch import nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoderEncoderLayer

from src.models.cpu import encoder_layer as module
from src.models.cpu.deformable_attention import DeformableAttention
from src.models.cpu.encoder_layer import EncoderLayer

SHAPES = [(2, 3), (4, 6), (8, 11)]
TOKENS = sum(height * width for height, width in SHAPES)


@pytest.mark.parametrize("padded", [False, True])
def test_equals_transformers(monkeypatch: pytest.MonkeyPatch, padded: bool) -> None:
    torch.manual_seed(0)
    config = Mask2FormerConfig(feature_size=32, num_attention_heads=4, encoder_feedforward_dim=48)
    theirs = Mask2FormerPixelDecoderEncoderLayer(config).eval()
    nn.init.normal_(theirs.self_attn.sampling_offsets.weight, std=1.0)
    ours = copy.deepcopy(theirs)
    ours.self_attn = DeformableAttention(ours.self_attn)
    ours = EncoderLayer(ours)
    monkeypatch.setattr(module, "_BLOCK", 17)
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
