import numpy as np
import pytest
import torch
from torch import Tensor

from src.visualization.class_colors import distinct_palette
from src.visualization.overlay import overlay
from src.visualization.overlay_painter import OverlayPainter

NAMES = ("sky", "road", "tree", "car")
COLORS = ((10, 20, 230), (90, 90, 90), (20, 200, 40), (230, 30, 30))


def paint(painter: OverlayPainter, image: Tensor, found: Tensor) -> Tensor:
    labels = found.numpy()
    return painter.paint(image, labels, np.bincount(labels.ravel(), minlength=len(painter.classes)) / labels.size)


def picture(height: int, width: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8), torch.randint(0, classes, (height, width))


@pytest.mark.parametrize("size", [(48, 64), (47, 61), (1, 1), (300, 20)])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_colors_equal_those_of_overlay(size: tuple[int, int], alpha: float) -> None:
    image, found = picture(*size)
    painted = paint(OverlayPainter(NAMES, COLORS, alpha, with_legend=False), image, found)
    assert painted.dtype == torch.uint8 and painted.shape == image.shape
    assert (painted.int() - overlay(image, found, COLORS, alpha).int()).abs().max() <= 1


@pytest.mark.parametrize("classes", [1, 256, 400])
def test_any_number_of_classes_has_colors(classes: int) -> None:
    image, found = picture(40, 40, classes)
    palette = distinct_palette(classes)
    painted = paint(OverlayPainter([f"c{k}" for k in range(classes)], palette, 1.0, with_legend=False), image, found)
    assert torch.equal(painted, torch.tensor(palette, dtype=torch.uint8)[found].movedim(-1, 0))


def test_the_legend_names_visible_classes_and_changes_no_other_pixels() -> None:
    image, found = torch.full((3, 240, 320), 128, dtype=torch.uint8), torch.zeros(240, 320, dtype=torch.int64)
    found[:, :100] = 2
    # No color is close to the text color.
    colors = (COLORS[0], (250, 0, 250), *COLORS[2:])
    plain = paint(OverlayPainter(NAMES, colors, with_legend=False), image, found)
    named = paint(OverlayPainter(NAMES, colors), image, found)
    rows = (named != plain).any(0).any(1).nonzero().flatten()
    assert rows.min() >= 160 and rows.max() == 239
    box = named[:, rows.min() : 240]
    for k, shown in enumerate((True, False, True, False)):
        # The legend is blended with the image.
        near = (box.int() - torch.tensor(colors[k])[:, None, None]).abs().amax(0) < 45
        assert (near.sum() > 60) == shown, NAMES[k]


def test_a_class_visible_in_one_frame_does_not_change_the_legend() -> None:
    image = torch.full((3, 240, 320), 128, dtype=torch.uint8)
    painter = OverlayPainter(NAMES, COLORS, alpha=0.0)
    empty, speck = torch.zeros(240, 320, dtype=torch.int64), torch.zeros(240, 320, dtype=torch.int64)
    speck[:10, :100] = 3  # 1.3 % of the picture
    first = paint(painter, image, empty)
    assert torch.equal(paint(painter, image, speck), first)
    # It is named when it remains visible.
    assert not torch.equal([paint(painter, image, speck) for _ in range(10)][-1], first)


@pytest.mark.parametrize("size", [(16, 16), (30, 400), (400, 30), (720, 1281), (1500, 900)])
def test_the_legend_is_at_most_a_sixth_of_the_image_or_one_row(size: tuple[int, int]) -> None:
    image, found = picture(*size, 124)
    classes = [f"a long name of class {k}" for k in range(124)]
    plain = paint(OverlayPainter(classes, distinct_palette(124), with_legend=False), image, found)
    named = paint(OverlayPainter(classes, distinct_palette(124)), image, found)
    assert named.shape == plain.shape
    rows = (named != plain).any(0).any(1).sum()
    assert rows <= max(size[0] / 6, 18) and rows <= size[0] / 4


def test_eleven_classes_are_named_in_a_tenth_of_a_small_picture() -> None:
    """CamVid's classes at 360x480."""
    classes = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
    image = torch.full((3, 360, 480), 128, dtype=torch.uint8)
    found = torch.arange(480).mul(11).div(480, rounding_mode="floor").expand(360, 480)
    palette = distinct_palette(11)
    plain, named = (paint(OverlayPainter(classes, palette, 0.0, with_legend), image, found) for with_legend in (False, True))
    rows = (named != plain).any(0).any(1).nonzero().flatten()
    assert rows.min() >= 0.9 * 360
    for color in palette:
        near = (named[:, rows.min() :].int() - (0.75 * torch.tensor(color) + 32).int()[:, None, None]).abs().amax(0) < 3
        assert near.sum() >= 60


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="4 class names but 3 colors"):
        OverlayPainter(NAMES, COLORS[:3])
    with pytest.raises(ValueError, match="alpha is 2"):
        OverlayPainter(NAMES, COLORS, alpha=2)
    with pytest.raises(ValueError, match="expected one size"):
        paint(OverlayPainter(NAMES, COLORS), picture(4, 4)[0], picture(4, 5)[1])


def test_a_note_changes_only_the_corner() -> None:
    image, found = torch.full((3, 240, 320), 128, dtype=torch.uint8), torch.zeros(240, 320, dtype=torch.int64)
    shares = np.array([1.0, 0, 0, 0])
    plain, noted = (OverlayPainter(NAMES, COLORS).paint(image, found.numpy(), shares, note) for note in (None, "key: cut"))
    rows, columns = (noted != plain).any(0).nonzero(as_tuple=True)
    assert rows.min() == columns.min() == 0 and rows.max() < 30 and 30 < columns.max() < 120
    assert len(noted[:, :20, :60].flatten(1).unique(dim=1)[0]) > 2
    unmarked = OverlayPainter(NAMES, COLORS, with_legend=False).paint(image, found.numpy(), shares, "key: cut")
    assert len(unmarked.flatten(1).unique(dim=1)[0]) == 1
