"""Laws of tensors from files: nothing is cast, and every number is finite."""

import pytest
import torch

from src.ops.loadable import check_loaded, is_finite, tensor_fault


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_floats_of_up_to_32_bits_fit(dtype: torch.dtype) -> None:
    assert tensor_fault(torch.ones(2, 3, dtype=dtype), torch.empty(2, 3)) is None
    assert tensor_fault(torch.ones(2, 3, dtype=dtype, device="meta"), torch.empty(2, 3)) is None


@pytest.mark.parametrize(
    ("found", "expected", "fault"),
    [
        (torch.ones(2, dtype=torch.float64), torch.ones(2), r"is \(2,\) float64, expected \(2,\) float32"),
        (torch.ones(2, dtype=torch.complex64), torch.ones(2), "complex64"),
        (torch.ones(2, dtype=torch.bool), torch.ones(2), "bool"),
        (torch.ones(2, dtype=torch.int32), torch.ones(2, dtype=torch.int64), "is .* int32, expected .* int64"),
        (torch.ones(2), torch.ones(2, dtype=torch.int64), "is .* float32, expected .* int64"),
        (torch.ones(3), torch.ones(2), r"is \(3,\) float32, expected \(2,\)"),
        (torch.ones(2).to_sparse(), torch.ones(2), "is sparse"),
        (torch.tensor([1.0, torch.nan]), torch.ones(2), "has 1 of 2 values that are NaN or infinite"),
        (torch.tensor([-torch.inf, torch.nan]), torch.ones(2), "has 2 of 2 values"),
    ],
)
def test_other_tensors_have_a_fault(found: torch.Tensor, expected: torch.Tensor, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        raise ValueError(tensor_fault(found, expected))


def test_large_values_with_an_infinite_sum_are_finite() -> None:
    assert is_finite(torch.full((4,), 3e38)) and is_finite(torch.full((9,), 6e4, dtype=torch.float16))
    assert not is_finite(torch.tensor([torch.inf, -torch.inf]))


def test_the_first_tensor_is_named() -> None:
    tensors = {"a": torch.ones(2), "b": torch.tensor([torch.nan]), "c": torch.tensor([torch.inf])}
    with pytest.raises(ValueError, match=r"^raft: tensor b has 1 of 1 values that are NaN"):
        check_loaded(tensors, "raft")
