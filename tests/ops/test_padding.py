"""Laws of padding: only at the right and bottom, and only up to the next multiple."""

import pytest
import torch

from src.ops.padding import pad_to, padded_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 853), (480, 864)), ((1, 1), (32, 32)), ((32, 64), (32, 64)), ((33, 65), (64, 96)), ((240, 320), (256, 320))],
)
def test_sizes_round_up_to_the_next_multiple(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert padded_size(size, 32) == expected


def test_the_image_stays_top_left_and_the_rest_is_the_constant() -> None:
    image = torch.randn(2, 3, 5, 7)
    padded = pad_to(image, (8, 9), value=-1.5)
    assert padded.shape == (2, 3, 8, 9)
    assert torch.equal(padded[..., :5, :7], image)
    rest = padded.clone()
    rest[..., :5, :7] = -1.5
    assert torch.equal(rest, torch.full_like(rest, -1.5))


def test_an_image_that_fits_is_returned_unchanged() -> None:
    image = torch.randn(3, 32, 64)
    assert pad_to(image, padded_size((32, 64), 32)) is image


@pytest.mark.parametrize("size", [(4, 9), (8, 6)])
def test_an_image_that_is_too_large_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="image of 5x7 does not fit"):
        pad_to(torch.zeros(3, 5, 7), size)
