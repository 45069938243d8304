"""Laws of overlays and error maps."""

import pytest
import torch

from src.structures import IGNORE_INDEX
from src.visualization.class_colors import distinct_palette
from src.visualization.overlay import CORRECT_COLOR, WRONG_COLOR, colorize, error_map, overlay
from src.visualization.palette import DEFAULT_ALPHA, VOID_COLOR

PALETTE = distinct_palette(4)
LABEL = torch.tensor([[0, 1, 2], [3, IGNORE_INDEX, 0]])


def pixels(picture: torch.Tensor) -> list[list[tuple[int, ...]]]:
    return [[tuple(pixel) for pixel in row] for row in picture.permute(1, 2, 0).tolist()]


def test_every_pixel_has_the_color_of_its_class() -> None:
    assert pixels(colorize(LABEL, PALETTE)) == [[*PALETTE[:3]], [PALETTE[3], VOID_COLOR, PALETTE[0]]]
    assert torch.equal(colorize(LABEL.expand(2, 5, 2, 3), PALETTE)[1, 4], colorize(LABEL, PALETTE))


def test_alpha_zero_is_the_image_and_one_the_label() -> None:
    image = torch.randint(0, 256, (3, 2, 3), dtype=torch.uint8)
    assert torch.equal(overlay(image, LABEL, PALETTE, alpha=0), image)
    plain = torch.full((2, 3), 2)
    assert torch.equal(overlay(image, plain, PALETTE, alpha=1), colorize(plain, PALETTE))
    blended = (1 - DEFAULT_ALPHA) * image.double() + DEFAULT_ALPHA * colorize(plain, PALETTE)
    assert (overlay(image, plain, PALETTE) - blended).abs().max() <= 0.51


def test_contours_are_white_where_a_class_begins_and_void_is_black() -> None:
    label = torch.zeros(6, 8, dtype=torch.int64)
    label[2:, 3:] = 1
    label[:, 6:] = IGNORE_INDEX
    drawn = overlay(torch.zeros(3, 6, 8, dtype=torch.uint8), label, PALETTE, alpha=1)
    expected = colorize(label, PALETTE)
    expected[:, 2, 3:6] = expected[:, 2:, 3] = expected[:, :, 6] = 255
    assert torch.equal(drawn, expected) and tuple(drawn[:, 0, 7].tolist()) == VOID_COLOR


def test_error_map_is_exact() -> None:
    label = torch.tensor([[0, 1], [IGNORE_INDEX, 2]])
    prediction = torch.tensor([[0, 2], [1, 2]])
    assert pixels(error_map(prediction, label)) == [[CORRECT_COLOR, WRONG_COLOR], [VOID_COLOR, CORRECT_COLOR]]


@pytest.mark.parametrize("value", [-1, 4, 254])
def test_values_without_a_color_are_named(value: int) -> None:
    with pytest.raises(ValueError, match=rf"\[{value}\].*0\.\.3 or 255"):
        colorize(torch.tensor([[0, value]]), PALETTE)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        overlay(torch.zeros(3, 2, 4, dtype=torch.uint8), LABEL, PALETTE)
    with pytest.raises(ValueError, match="one size"):
        error_map(LABEL, LABEL[:1])
    with pytest.raises(ValueError, match=r"alpha is 1\.5"):
        overlay(torch.zeros(3, 2, 3, dtype=torch.uint8), LABEL, PALETTE, alpha=1.5)
