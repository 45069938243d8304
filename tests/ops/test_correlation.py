"""Laws of the local correlation: values and gradients equal shifted inner products."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.ops.correlation import local_correlation


def shifted_products(first: Tensor, second: Tensor, radius: int) -> Tensor:
    height, width = first.shape[-2:]
    padded = F.pad(second, (radius,) * 4)
    shifts = [(y, x) for y in range(2 * radius + 1) for x in range(2 * radius + 1)]
    return torch.stack([(first * padded[:, :, y : y + height, x : x + width]).sum(1) for y, x in shifts], 1)


@pytest.mark.parametrize(("shape", "radius"), [((2, 5, 6, 10), 3), ((1, 3, 8, 4), 1), ((2, 2, 1, 1), 2), ((1, 4, 5, 3), 0)])
def test_it_is_the_inner_product_at_every_shift_and_so_are_its_gradients(shape: tuple[int, ...], radius: int) -> None:
    first, second = torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
    found, expected = local_correlation(first, second, radius), shifted_products(first, second, radius)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    gradients = [torch.autograd.grad((weight * out).sum(), (first, second)) for out in (found, expected)]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_shifted_copy_correlates_most_at_its_shift() -> None:
    second = F.normalize(torch.randn(1, 32, 12, 12), dim=1)
    first = second.roll((-1, 2), (-2, -1))  # first[y, x] = second[y + 1, x - 2]
    best = local_correlation(first, second, 2).argmax(1)[0, 3:-3, 3:-3]
    assert torch.equal(best, torch.full_like(best, (1 + 2) * 5 + (-2 + 2)))


@pytest.mark.usefixtures("unchecked_shapes")
def test_features_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected two equal"):
        local_correlation(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5), 1)
    with pytest.raises(ValueError, match="radius -1"):
        local_correlation(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), -1)
