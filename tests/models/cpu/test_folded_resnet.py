"""Law: folded or not, in inference and training, features and state dict equal transformers'."""

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import ResNetBackbone, ResNetConfig

from src.models.cpu.folded_resnet import FoldedConvolution, fold_resnet


@pytest.fixture(params=["basic", "bottleneck"])
def theirs(request: pytest.FixtureRequest) -> ResNetBackbone:
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[2, 2], layer_type=request.param, out_features=["stage1", "stage2"]
    )
    network = ResNetBackbone(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Their initial values change nothing, which would hide a forgotten one.
            for values in (module.weight.data, module.bias.data, module.running_mean):
                values.uniform_(0.5, 1.5)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def folded(network: ResNetBackbone) -> ResNetBackbone:
    ours = copy.deepcopy(network)
    fold_resnet(ours)
    return ours


def check(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert one.is_contiguous()
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_features_are_equal(theirs: ResNetBackbone) -> None:
    ours, image = folded(theirs), torch.randn(2, 3, 38, 51)
    expected = theirs(image).feature_maps
    assert sum(isinstance(module, FoldedConvolution) for module in ours.modules()) > 8
    with torch.inference_mode():
        check(ours(image).feature_maps, expected)
    check(ours(image).feature_maps, expected)


def test_names_gradients_and_statistics_are_equal(theirs: ResNetBackbone) -> None:
    ours, image = folded(theirs), torch.randn(2, 3, 38, 51)
    for network in (theirs.train(), ours.train()):
        sum(level.square().mean() for level in network(image).feature_maps).backward()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (name, mine), (_, other) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        torch.testing.assert_close(mine, other, msg=name)
    for (name, one), (_, two) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_changed_weights_are_folded_again(theirs: ResNetBackbone) -> None:
    ours, image = folded(theirs), torch.randn(1, 3, 38, 51)
    with torch.inference_mode():
        ours(image)
    for network in (ours, theirs):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.1)
    with torch.inference_mode():
        check(ours(image).feature_maps, theirs(image).feature_maps)
