"""Law: what is kept is what would be made anew."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from src.ops.kept import KeptResult


def doubled(source: Tensor) -> Tensor:
    return 2 * source


class Counted:
    """Doubles, and counts how often it did."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, source: Tensor) -> Tensor:
        self.calls += 1
        return doubled(source)


@pytest.fixture
def count() -> Counted:
    return Counted()


@pytest.fixture
def kept(count: Counted) -> KeptResult:
    return KeptResult(count)


def test_it_is_made_once_in_inference_mode_and_every_time_elsewhere(kept: KeptResult, count: Counted) -> None:
    weight = nn.Parameter(torch.randn(4, 3))
    with torch.inference_mode():
        assert all(torch.equal(kept(weight), 2 * weight) for _ in range(3))
    assert count.calls == 1
    for calls in (2, 3):
        kept(weight).sum().backward()
        assert count.calls == calls
    with torch.inference_mode():
        kept(weight)
        kept.forget()
        kept(weight)
    assert count.calls == 4


def step(weight: nn.Parameter, **kind: bool) -> None:
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], lr=0.1, **kind).step()


def written_over(weight: nn.Parameter) -> None:
    weight.data = torch.randn_like(weight)


CHANGES: dict[str, Callable[[nn.Parameter], object]] = {
    "written": lambda weight: weight.add_(1),
    "written in part": lambda weight: weight[2:].mul_(3),
    "written through a view": lambda weight: weight.detach()[3].zero_(),
    "written through .data": lambda weight: weight.data.add_(1),
    "given other data": written_over,
    "given another type": lambda weight: setattr(weight, "data", weight.data.double()),
    "an optimiser's step": step,
    "one of all tensors": lambda weight: step(weight, foreach=True),
    "one of a fused optimiser": lambda weight: step(weight, fused=True),
    "transposed": lambda weight: setattr(weight, "data", weight.data.T),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("inference", [False, True])
def test_a_changed_tensor_is_seen(kept: KeptResult, change: Callable[[nn.Parameter], object], inference: bool) -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    with torch.inference_mode():
        kept(weight)
    with torch.inference_mode() if inference else torch.no_grad():
        change(weight)
    with torch.inference_mode():
        assert torch.equal(kept(weight), 2 * weight)


def test_a_tensor_that_takes_the_memory_of_one_gone_is_another(kept: KeptResult) -> None:
    with torch.inference_mode():
        for _ in range(20):
            weight = nn.Parameter(torch.randn(64, 64))
            weight.data[:, 0] = 1
            assert torch.equal(kept(weight), 2 * weight)
            del weight


def test_nothing_is_kept_of_tensors_without_a_version(kept: KeptResult, count: Counted) -> None:
    with torch.inference_mode():
        weight = torch.randn(4, 3)
        for _ in range(2):
            weight[1:] += 1
            assert torch.equal(kept(weight), 2 * weight)
    assert count.calls == 2


def test_copies_start_empty() -> None:
    kept, weight = KeptResult(doubled), nn.Parameter(torch.randn(4, 3))
    with torch.inference_mode():
        kept(weight)
        for other in (copy.copy(kept), copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
            assert other._made is None
            assert torch.equal(other(weight), 2 * weight)
    assert len(pickle.dumps(kept)) < 200


def test_tensors_without_data_are_not_kept(kept: KeptResult, count: Counted) -> None:
    weight = nn.Parameter(torch.randn(4, 3))
    with torch.inference_mode():
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert isinstance(kept(weight), FakeTensor)
        assert torch.equal(kept(weight), 2 * weight)
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert isinstance(kept(weight), FakeTensor)
        assert kept(torch.empty(4, 3, device="meta")).device.type == "meta"
        assert torch.equal(kept(weight), 2 * weight)
    assert count.calls == 4


def test_threads_may_share_it(kept: KeptResult) -> None:
    weights = [nn.Parameter(torch.full((4, 3), float(value))) for value in range(3)]

    @torch.inference_mode()
    def check(number: int) -> bool:
        weight = weights[number % 3]
        return torch.equal(kept(weight), 2 * weight)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(300)))
