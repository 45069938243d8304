"""Laws of overlay videos: the pixels are those of single overlays, and neither legend nor note moves or changes them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from src.visualization.class_colors import distinct_palette
from src.visualization.overlay import overlay
from src.visualization.overlay_painter import Legend, OverlayPainter

NAMES = ("sky", "road", "tree", "car")
COLORS = ((10, 20, 230), (90, 90, 90), (20, 200, 40), (230, 30, 30))


def paint(painter: OverlayPainter, image: Tensor, found: Tensor, note: str | None = None) -> Tensor:
    labels = found.numpy()
    shares = np.bincount(labels.ravel(), minlength=len(painter.classes)) / labels.size
    return painter.paint(image, labels, shares, note)


def picture(height: int, width: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8), torch.randint(0, classes, (height, width))


@pytest.mark.parametrize("size", [(48, 64), (47, 61), (1, 1), (300, 20), (961, 970)])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_pixels_equal_those_of_overlay(size: tuple[int, int], alpha: float) -> None:
    painter = OverlayPainter(NAMES, COLORS, alpha)
    for _ in range(2):
        image, found = picture(*size)
        painted = paint(painter, image, found)
        assert painted.dtype == torch.uint8 and torch.equal(painted, overlay(image, found, COLORS, alpha))


@pytest.mark.parametrize("classes", [1, 254, 255, 256, 257, 400])
def test_any_number_of_classes_has_colors_and_contours(classes: int) -> None:
    image, palette = torch.zeros(3, 40, 40, dtype=torch.uint8), distinct_palette(classes)
    found = torch.zeros(40, 40, dtype=torch.int64)
    found[:, 20:] = classes - 1
    painted = paint(OverlayPainter([f"c{k}" for k in range(classes)], palette, 1.0), image, found)
    expected = torch.tensor(palette, dtype=torch.uint8)[found].movedim(-1, 0)
    if classes > 1:
        expected[:, :, 20] = 255
    assert torch.equal(painted, expected)


def test_the_background_of_a_single_class_is_dark() -> None:
    found = torch.full((40, 40), 255)
    found[:, :20] = 0
    painted = OverlayPainter(["lane"], [(200, 40, 40)], 1.0).paint(
        torch.full((3, 40, 40), 90, dtype=torch.uint8), found.numpy(), np.array([0.5])
    )
    assert painted[:, 0, 0].tolist() == [200, 40, 40] and painted[:, 0, 30].tolist() == [0, 0, 0]


@pytest.mark.parametrize("legend", ["side", "bottom"])
def test_the_legend_is_beside_the_picture_and_equal_on_every_frame(legend: Legend) -> None:
    painter, plain = OverlayPainter(NAMES, COLORS, legend=legend), OverlayPainter(NAMES, COLORS)
    panels = []
    for classes in (4, 1):
        image, found = picture(240, 320, classes)
        named = paint(painter, image, found)
        assert torch.equal(named[:, :240, :320], paint(plain, image, found))
        panels.append(named[:, :, 320:] if legend == "side" else named[:, 240:])
    assert torch.equal(*panels) and panels[0].numel() > 0
    for color in COLORS:
        assert (panels[0] == torch.tensor(color)[:, None, None]).all(0).sum() > 50


@pytest.mark.parametrize("legend", ["side", "bottom", "off"])
def test_the_source_is_to_the_left_on_request(legend: Legend) -> None:
    image, found = picture(240, 320)
    alone, beside = (paint(OverlayPainter(NAMES, COLORS, 0.5, legend, source), image, found) for source in (False, True))
    assert torch.equal(beside[:, :240, :320], image) and torch.equal(beside[:, :240, 320:640], alone[:, :240, :320])


def test_a_note_changes_only_the_corner() -> None:
    image, found = torch.full((3, 240, 320), 128, dtype=torch.uint8), torch.zeros(240, 320, dtype=torch.int64)
    plain, noted = (paint(OverlayPainter(NAMES, COLORS), image, found, note) for note in (None, "key frame: cut"))
    rows, columns = (noted != plain).any(0).nonzero(as_tuple=True)
    assert rows.min() == columns.min() == 0 and rows.max() < 30 and 30 < columns.max() < 160
    assert len(noted[:, :20, :60].flatten(1).unique(dim=1)[0]) > 2


def test_a_painted_frame_does_not_change_with_the_next_one() -> None:
    painter = OverlayPainter(NAMES, COLORS, legend="side")
    first = paint(painter, *picture(240, 320))
    kept = first.clone()
    paint(painter, *picture(240, 320))
    assert torch.equal(first, kept)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="4 class names but 3 colors"):
        OverlayPainter(NAMES, COLORS[:3])
    with pytest.raises(ValueError, match="alpha is 2"):
        OverlayPainter(NAMES, COLORS, alpha=2)
    with pytest.raises(ValueError, match="legend is True; expected side, bottom or off"):
        OverlayPainter(NAMES, COLORS, legend=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one size"):
        paint(OverlayPainter(NAMES, COLORS), picture(4, 4)[0], picture(4, 5)[1])
