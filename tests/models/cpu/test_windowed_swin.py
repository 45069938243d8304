"""Law: in blocks or at once, trained or not, the features and state dict equal transformers'."""

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import SwinBackbone, SwinConfig

from src.models.cpu import windowed_swin as module
from src.models.cpu.windowed_swin import WindowedLayer, speed_up_swin, windows_of


@pytest.fixture(params=[True, False], ids=["biases", "no biases"])
def theirs(request: pytest.FixtureRequest) -> SwinBackbone:
    torch.manual_seed(0)
    config = SwinConfig(
        embed_dim=8,
        depths=[2, 3],
        num_heads=[2, 4],
        window_size=4,
        qkv_bias=request.param,
        drop_path_rate=0.0,
        out_features=["stage1", "stage2"],
    )
    network = SwinBackbone(config)
    for name, values in network.named_parameters():
        # Their initial values are 0 or 1, which would hide a forgotten one.
        if name.endswith("table") or values.dim() == 1:
            nn.init.normal_(values)
    return network.eval()


def windowed(network: SwinBackbone) -> SwinBackbone:
    ours = copy.deepcopy(network)
    speed_up_swin(ours)
    return ours


def check(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert one.is_contiguous()
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("at_once", [2, 16, 48, 10**6])
@pytest.mark.parametrize("size", [(64, 96), (36, 76), (12, 8), (60, 20)], ids=str)
def test_features_are_equal(theirs: SwinBackbone, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], at_once: int) -> None:
    """With and without padding, from a single window to many; blocks of less than a window, one, some, all."""
    monkeypatch.setattr(module, "_BLOCK", at_once)
    monkeypatch.setattr(module, "_SMALL", 0)
    ours, image = windowed(theirs), torch.randn(2, 3, *size)
    assert sum(isinstance(layer, WindowedLayer) for layer in ours.modules()) == 5
    expected = theirs(image).feature_maps
    fallbacks: list[object] = []
    with torch.inference_mode():
        monkeypatch.setattr(module.SwinLayer, "forward", lambda *_, **__: fallbacks.append(0))
        check(ours(image).feature_maps, expected)
    assert not fallbacks


def test_small_maps_are_one_block(theirs: SwinBackbone) -> None:
    ours, image = windowed(theirs), torch.randn(1, 3, 44, 52)
    with torch.inference_mode():
        check(ours(image).feature_maps, theirs(image).feature_maps)


def test_every_token_lies_in_one_window() -> None:
    blocks = windows_of((7, 11), 4, 2, 3, 32)
    assert torch.cat([block.tokens for block in blocks]).sort().values.equal(torch.arange(3 * 7 * 11))
    assert {block.count for block in blocks} == {2}
    for block in blocks:
        assert block.place_of_token.numel() == block.tokens.numel()
        if block.places is not None:
            assert block.places[block.place_of_token].equal(torch.arange(len(block.tokens)))
            assert (block.places == len(block.tokens)).sum() == block.count * 16 - len(block.tokens)


def test_names_and_gradients_are_equal(theirs: SwinBackbone) -> None:
    ours, image = windowed(theirs), torch.randn(2, 3, 36, 76)
    for network in (theirs.train(), ours.train()):
        sum(level.square().mean() for level in network(image).feature_maps).backward()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (name, one), (_, two) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if two.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_the_input_is_not_overwritten(theirs: SwinBackbone) -> None:
    layer = windowed(theirs).swin.encoder.layers[0].blocks[1]
    with torch.inference_mode():
        tokens = torch.randn(1, 9 * 13, 8)
        before = tokens.clone()
        layer(tokens, (9, 13), always_partition=True)
    assert tokens.equal(before)


def test_half_precision_uses_transformers_code(theirs: SwinBackbone) -> None:
    ours, image = windowed(theirs), torch.randn(1, 3, 36, 76)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for one, other in zip(ours(image).feature_maps, theirs(image).feature_maps, strict=True):
            assert one.equal(other)


def test_another_backbone_is_unchanged() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    speed_up_swin(network)
    assert type(network[0]) is nn.Conv2d
