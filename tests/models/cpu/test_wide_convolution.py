"""Law: the fast path equals torch's convolution with the current weights."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.cpu.wide_convolution import WideConvolution


def reference(layer: nn.Conv2d, image: Tensor) -> Tensor:
    return F.conv2d(image, layer.weight, layer.bias, layer.stride, padding=1)


@torch.inference_mode()
def check(layer: nn.Conv2d, image: Tensor) -> None:
    torch.testing.assert_close(layer(image), reference(layer, image), atol=2e-5, rtol=1e-5)


@pytest.fixture(params=[(3, 5), (7, 9), (10, 12), (15, 20)])
def image(request: pytest.FixtureRequest) -> Tensor:
    return torch.randn(2, 6, *request.param)


def test_with_stride_2_it_is_equal(image: Tensor) -> None:
    layer = WideConvolution(6, 4, stride=2)
    check(layer, image)
    check(layer, image.contiguous(memory_format=torch.channels_last))
    assert torch.equal(layer(image), reference(layer, image))
    assert layer._kernel._entry is None


@pytest.fixture
def layer() -> WideConvolution:
    return WideConvolution(6, 4)


def test_it_is_equal_in_inference(layer: WideConvolution, image: Tensor) -> None:
    for _ in range(2):
        check(layer, image)
    check(layer, image.contiguous(memory_format=torch.channels_last))
    check(layer.double(), image.double())


def test_it_is_torchs_convolution_elsewhere(layer: WideConvolution, image: Tensor) -> None:
    assert torch.equal(layer(image), reference(layer, image))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(image), reference(layer, image))


def test_compiled_it_is_equal(layer: WideConvolution) -> None:
    image = torch.randn(1, 6, 10, 12)
    compiled = torch.compile(layer, backend="aot_eager")
    for _ in range(2):
        with torch.inference_mode():
            torch.testing.assert_close(compiled(image), reference(layer, image), atol=2e-5, rtol=1e-5)
        with torch.no_grad():
            layer.weight.mul_(2)
    torch.testing.assert_close(compiled(image), reference(layer, image))


def train(layer: WideConvolution, image: Tensor) -> None:
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True, weight_decay=0)
    # A fused step does not increment the version, and without the first input it leaves the compared values unchanged.
    layer(torch.cat((torch.zeros_like(image[:, :1]), image[:, 1:]), dim=1)).sum().backward()
    optimizer.step()


CHANGES: dict[str, Callable[[WideConvolution, Tensor], object]] = {
    "trained": train,
    "other weights": lambda layer, _: layer.load_state_dict({k: torch.randn_like(v) for k, v in layer.state_dict().items()}),
    "other tensors": lambda layer, _: layer.load_state_dict(
        {k: torch.randn_like(v) for k, v in layer.state_dict().items()}, assign=True
    ),
    "another parameter": lambda layer, _: setattr(layer, "weight", nn.Parameter(torch.randn_like(layer.weight))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_weights_are_used(layer: WideConvolution, change: Callable[[WideConvolution, Tensor], object]) -> None:
    image = torch.randn(1, 6, 10, 12)
    check(layer, image)
    change(layer, image)
    check(layer, image)


def test_copies_and_files_do_not_contain_the_cache(layer: WideConvolution) -> None:
    image = torch.randn(1, 6, 10, 12)
    check(layer, image)
    assert layer._kernel._entry is not None
    assert list(layer.state_dict()) == ["weight", "bias"]
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for other in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert other._kernel._entry is None
        with torch.no_grad():
            other.weight.mul_(2)
        check(other, image)
    check(layer, image)


def test_training_clears_the_cache(layer: WideConvolution) -> None:
    image = torch.randn(1, 6, 10, 12)
    check(layer, image)
    layer(image)
    assert layer._kernel._entry is None
