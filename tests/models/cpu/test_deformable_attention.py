"""Law: values and gradients equal those of transformers' deformable attention, at any sampling point."""

import pytest
import torch
from torch import nn

from src.models.cpu.deformable_attention import DeformableAttention, SampledTable, TransformersAttention

SHAPES = [(3, 5), (6, 10), (11, 20)]
TOKENS = sum(height * width for height, width in SHAPES)


@pytest.fixture
def attention():
    torch.manual_seed(0)
    module = TransformersAttention(32, num_heads=4, n_levels=3, n_points=4)
    # Samples far beyond the borders of every level, which read zeros.
    nn.init.normal_(module.sampling_offsets.weight, std=2.0)
    nn.init.normal_(module.attention_weights.weight, std=0.5)
    return module


@pytest.fixture
def arguments():
    generator = torch.Generator().manual_seed(1)
    return {
        "hidden_states": torch.randn(2, TOKENS, 32, generator=generator),
        "encoder_hidden_states": torch.randn(2, TOKENS, 32, generator=generator),
        "position_embeddings": torch.randn(2, TOKENS, 32, generator=generator),
        "attention_mask": torch.rand(2, TOKENS, generator=generator) < 0.1,
        "reference_points": torch.rand(2, TOKENS, 3, 2, generator=generator),
        "spatial_shapes_list": SHAPES,
    }


@pytest.mark.parametrize("padded", [False, True])
def test_equals_transformers(attention, arguments, padded):
    if not padded:
        arguments["attention_mask"] = None
    with torch.no_grad():
        expected, expected_weights = attention(**arguments)
        output, weights = DeformableAttention(attention)(**arguments)
    assert torch.allclose(output, expected, atol=1e-5, rtol=1e-5)
    assert torch.allclose(weights, expected_weights, atol=1e-6)
    assert output.std() > 0.1


def test_gradients_equal_those_of_transformers(attention, arguments):
    arguments["hidden_states"].requires_grad_()
    arguments["encoder_hidden_states"].requires_grad_()
    inputs = (arguments["hidden_states"], arguments["encoder_hidden_states"], *attention.parameters())
    expected = torch.autograd.grad(attention(**arguments)[0].square().sum(), inputs)
    found = torch.autograd.grad(DeformableAttention(attention)(**arguments)[0].square().sum(), inputs)
    assert all(torch.allclose(ours, theirs, atol=1e-5, rtol=1e-4) for ours, theirs in zip(found, expected, strict=True))


def test_sums_at_borders_and_between_pixels():
    value = torch.arange(1.0, 7.0).view(1, 6, 1, 1)  # one map of 2 x 3: 1 2 3 / 4 5 6
    positions = torch.tensor([[0.0, 0.0], [2.0, 1.0], [0.5, 0.5], [-0.5, 0.0], [2.25, 1.0], [-1.0, 0.0], [9.0, -9.0], [2.5, 1.5]])
    expected = torch.tensor([1.0, 6.0, 3.0, 0.5, 4.5, 0.0, 0.0, 1.5])
    sampled = SampledTable.of(value, [(2, 3)]).sums(positions.T.reshape(2, 1, 1, 1, 8).clone(), torch.ones(1, 1, 1, 8))
    assert torch.equal(sampled.flatten(), expected)


def test_it_replaces_every_module_and_keeps_the_names(attention):
    decoder = nn.ModuleDict({"layer": nn.ModuleDict({"self_attn": attention})})
    names = list(decoder.state_dict())
    DeformableAttention.install(decoder)
    assert isinstance(decoder["layer"]["self_attn"], DeformableAttention)
    assert list(decoder.state_dict()) == names
    assert decoder["layer"]["self_attn"].value_proj is attention.value_proj
