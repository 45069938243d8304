"""Law: a cached result equals a newly computed one."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from src.ops.cache import CachedResult, cached_constant


def doubled(source: Tensor) -> Tensor:
    return 2 * source


class Counted:
    """Doubles its argument and counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, source: Tensor) -> Tensor:
        self.calls += 1
        return doubled(source)


@pytest.fixture
def count() -> Counted:
    return Counted()


@pytest.fixture
def cached(count: Counted) -> CachedResult:
    return CachedResult(count)


def test_it_is_computed_once_in_inference_mode_and_always_elsewhere(cached: CachedResult, count: Counted) -> None:
    weight = nn.Parameter(torch.randn(4, 3))
    with torch.inference_mode():
        assert all(torch.equal(cached(weight), 2 * weight) for _ in range(3))
    assert count.calls == 1
    for calls in (2, 3):
        cached(weight).sum().backward()
        assert count.calls == calls
    with torch.inference_mode():
        cached(weight)
        cached.clear()
        cached(weight)
    assert count.calls == 4


def step(weight: nn.Parameter, **kind: bool) -> None:
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], lr=0.1, **kind).step()


def overwritten(weight: nn.Parameter) -> None:
    weight.data = torch.randn_like(weight)


CHANGES: dict[str, Callable[[nn.Parameter], object]] = {
    "written": lambda weight: weight.add_(1),
    "written in part": lambda weight: weight[2:].mul_(3),
    "written through a view": lambda weight: weight.detach()[3].zero_(),
    "written through .data": lambda weight: weight.data.add_(1),
    "given other data": overwritten,
    "given another type": lambda weight: setattr(weight, "data", weight.data.double()),
    "an optimizer's step": step,
    "a foreach optimizer's step": lambda weight: step(weight, foreach=True),
    "a fused optimizer's step": lambda weight: step(weight, fused=True),
    "transposed": lambda weight: setattr(weight, "data", weight.data.T),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("inference", [False, True])
def test_a_changed_tensor_is_seen(cached: CachedResult, change: Callable[[nn.Parameter], object], inference: bool) -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    with torch.inference_mode():
        cached(weight)
    with torch.inference_mode() if inference else torch.no_grad():
        change(weight)
    with torch.inference_mode():
        assert torch.equal(cached(weight), 2 * weight)


def test_a_tensor_in_the_memory_of_a_deleted_one_is_another(cached: CachedResult) -> None:
    with torch.inference_mode():
        for _ in range(20):
            weight = nn.Parameter(torch.randn(64, 64))
            weight.data[:, 0] = 1
            assert torch.equal(cached(weight), 2 * weight)
            del weight


def test_tensors_without_a_version_are_not_cached(cached: CachedResult, count: Counted) -> None:
    with torch.inference_mode():
        weight = torch.randn(4, 3)
        for _ in range(2):
            weight[1:] += 1
            assert torch.equal(cached(weight), 2 * weight)
    assert count.calls == 2


def test_copies_start_empty() -> None:
    cached, weight = CachedResult(doubled), nn.Parameter(torch.randn(4, 3))
    with torch.inference_mode():
        cached(weight)
        for other in (copy.copy(cached), copy.deepcopy(cached), pickle.loads(pickle.dumps(cached))):
            assert other._entry is None
            assert torch.equal(other(weight), 2 * weight)
    assert len(pickle.dumps(cached)) < 200


def test_tensors_without_data_are_not_cached(cached: CachedResult, count: Counted) -> None:
    weight = nn.Parameter(torch.randn(4, 3))
    with torch.inference_mode():
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert isinstance(cached(weight), FakeTensor)
        assert torch.equal(cached(weight), 2 * weight)
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert isinstance(cached(weight), FakeTensor)
        assert cached(torch.empty(4, 3, device="meta")).device.type == "meta"
        assert torch.equal(cached(weight), 2 * weight)
    assert count.calls == 4


def test_it_is_thread_safe(cached: CachedResult) -> None:
    weights = [nn.Parameter(torch.full((4, 3), float(value))) for value in range(3)]

    @torch.inference_mode()
    def check(number: int) -> bool:
        weight = weights[number % 3]
        return torch.equal(cached(weight), 2 * weight)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(300)))


CALLS: list[tuple[int, ...]] = []
CPU = torch.device("cpu")


@cached_constant(entries=2)
def ramp(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    CALLS.append(size)
    return torch.arange(size[0] * size[1], dtype=dtype, device=device).view(size)


def computations(function: Callable[[], object]) -> int:
    """The number of times that the function computes ``ramp``."""
    before = len(CALLS)
    function()
    return len(CALLS) - before


def request(*sizes: tuple[int, ...], dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> None:
    for size in sizes:
        found = ramp(size, dtype, device)
        assert found.shape == size
        assert (found.dtype, found.device) == (dtype, device)


def test_a_constant_is_computed_once_in_inference_mode_and_the_oldest_is_dropped_first() -> None:
    with torch.inference_mode():
        assert computations(lambda: request((2, 3), (2, 3), (3, 4), (2, 3))) == 2
        assert computations(lambda: request((4, 5), (2, 3))) == 1
        assert computations(lambda: request((3, 4))) == 1
        assert computations(lambda: request((3, 4), dtype=torch.float64)) == 1
        assert torch.equal(ramp((3, 4), torch.float32, CPU), torch.arange(12.0).view(3, 4))


def test_elsewhere_it_is_always_computed() -> None:
    with torch.inference_mode():
        request((5, 6))
        meta = torch.device("meta")
        assert computations(lambda: request((5, 6), (5, 6), device=meta)) == 2
        with torch.autocast("cpu", torch.bfloat16):
            assert computations(lambda: request((5, 6), (5, 6))) == 2
        assert computations(lambda: request((5, 6))) == 0
    assert computations(lambda: request((5, 6), (5, 6))) == 2
    with torch.no_grad():
        assert computations(lambda: request((5, 6))) == 1


def test_fake_tensors_neither_enter_nor_leave_the_cache() -> None:
    with torch.inference_mode():
        for _ in range(2):
            with FakeTensorMode():
                assert isinstance(ramp((6, 7), torch.float32, CPU), FakeTensor)
            assert type(ramp((6, 7), torch.float32, CPU)) is Tensor
        compiled = torch.compile(lambda x: x + ramp((6, 7), torch.float32, CPU), backend="aot_eager")
        assert torch.equal(compiled(torch.ones(6, 7)), 1 + torch.arange(42.0).view(6, 7))


def test_a_cached_constant_may_meet_gradients_later() -> None:
    with torch.inference_mode():
        constant = ramp((2, 2), torch.float32, CPU)
    weight = torch.ones(2, 2, requires_grad=True)
    (weight * constant).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, constant)


def test_writing_to_a_constant_is_an_error_at_the_next_call() -> None:
    with torch.inference_mode():
        ramp((7, 8), torch.float32, CPU)[0] += 1
        with pytest.raises(RuntimeError, match="ramp was written to"):
            ramp((7, 8), torch.float32, CPU)


def test_constants_are_thread_safe() -> None:
    @torch.inference_mode()
    def check(number: int) -> bool:
        size = (2 + number % 4, 3)
        return torch.equal(ramp(size, torch.float32, CPU), torch.arange(float(size[0] * 3)).view(size))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(300)))
