"""Pictures made of pictures: titled tiles on white, and class legends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from src.structures import Size
from src.visualization.palette import Color, Palette

GAP = 4
TITLE_HEIGHT = 22
_FONT_SIZE = 14
_SMALLEST_FONT = 8
_INK = (30, 30, 30)


class Tile(NamedTuple):
    """One picture of a grid.

    Attributes:
        title: written above it.
        image: (3, H, W) uint8 RGB.
    """

    title: str
    image: Tensor


def tile_size(size: Size, min_width: int = 240, max_width: int = 640) -> Size:
    """The size at which an image is shown: small ones grow by a whole factor, so that pixels stay square, large ones shrink.

    Args:
        size: (H, W) of the image.
        min_width: what a small image reaches at least, pixels.
        max_width: what a large image is shrunk to, pixels.
    """
    height, width = size
    if width < min_width:
        factor = -(-min_width // width)
        return height * factor, width * factor
    if width > max_width:
        return max(1, round(height * max_width / width)), max_width
    return height, width


def tile_grid(rows: Sequence[Sequence[Tile]], min_width: int = 240, max_width: int = 640) -> Tensor:
    """Titled tiles in rows, all at the size of the first one, with thin white gaps.

    Args:
        rows: rows of tiles; shorter rows end in white.
        min_width: see :func:`tile_size`.
        max_width: see :func:`tile_size`.

    Returns:
        (3, H, W) uint8 with even sides, because H.264 takes no others.

    Raises:
        ValueError: if there is no tile.
    """
    if not rows or not rows[0]:
        raise ValueError("no tiles to show; expected at least one")
    first = rows[0][0].image
    height, width = tile_size((first.shape[-2], first.shape[-1]), min_width, max_width)
    columns = max(len(row) for row in rows)
    pitch = TITLE_HEIGHT + height + GAP
    canvas = _white(len(rows) * pitch, columns * (width + GAP) - GAP)
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            x, y = c * (width + GAP), r * pitch
            _write(canvas, tile.title, x + 2, y + TITLE_HEIGHT - 6, width - 4)
            canvas[y + TITLE_HEIGHT : y + TITLE_HEIGHT + height, x : x + width] = _resize(tile.image, (height, width))
    return _to_tensor(canvas)


def legend(classes: Sequence[str], palette: Palette, width: int) -> Tensor:
    """Color boxes with class names, in as many rows and columns as the width asks for.

    Args:
        classes: K names.
        palette: K colors.
        width: of the picture, pixels.

    Returns:
        (3, H, width) uint8, H even.

    Raises:
        ValueError: if names and colors differ in number.
    """
    widest = max(_entry_widths(classes, palette, TITLE_HEIGHT), default=0)
    pitch = max(1, min(width, widest))
    columns = max(1, width // pitch)
    places = [(i // columns, i % columns * pitch, pitch) for i in range(len(classes))]
    return _to_tensor(_draw_legend(classes, palette, places, width, TITLE_HEIGHT))[..., :width]


def packed_legend(classes: Sequence[str], palette: Palette, width: int, row_height: int) -> Tensor:
    """Color boxes with class names one behind another, like words on a page: for pictures with little room.

    Args:
        classes: K names.
        palette: K colors.
        width: of the picture, pixels.
        row_height: pixels; letters grow and shrink with it.

    Returns:
        (3, H, width) uint8, H even.

    Raises:
        ValueError: if names and colors differ in number.
    """
    row = x = 0
    places = []
    for wanted in _entry_widths(classes, palette, row_height):
        entry = min(wanted, width)
        if x + entry > width:
            row, x = row + 1, 0
        places.append((row, x, entry))
        x += entry
    return _to_tensor(_draw_legend(classes, palette, places, width, row_height))[..., :width]


def label(text: str, color: Color, row_height: int) -> np.ndarray:
    """One line of text on a colored ground, as wide as it is long.

    Args:
        text: what to write.
        color: of the ground.
        row_height: pixels; letters grow and shrink with it.

    Returns:
        (row_height, W, 3) uint8.
    """
    size = _font_size(row_height)
    canvas = np.full((row_height, _text_width(text, size) + 8, 3), color, dtype=np.uint8)
    _write(canvas, text, 4, row_height - 6, canvas.shape[1] - 4, size)
    return canvas


def stack(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures below one another, narrower ones filled with white at the right.

    Args:
        pictures: (3, H, W) uint8 each.

    Returns:
        (3, sum of heights, largest width) uint8.
    """
    width = max(picture.shape[-1] for picture in pictures)
    filled = [torch.nn.functional.pad(picture, (0, width - picture.shape[-1]), value=255) for picture in pictures]
    return torch.cat(filled, dim=1)


def _entry_widths(classes: Sequence[str], palette: Palette, row_height: int) -> list[int]:
    """Pixels that each box with its name and the gap behind it take."""
    if len(classes) != len(palette):
        raise ValueError(f"{len(classes)} class names but {len(palette)} colors; expected one each")
    size = _font_size(row_height)
    return [row_height - 8 + 6 + _text_width(name, size) + size for name in classes]


def _font_size(row_height: int) -> int:
    return max(_SMALLEST_FONT, row_height - 8)


def _draw_legend(
    classes: Sequence[str], palette: Palette, places: Sequence[tuple[int, int, int]], width: int, row_height: int
) -> np.ndarray:
    """Each entry at its row, left edge and width."""
    canvas = _white((1 + max((row for row, _, _ in places), default=-1)) * row_height, width)
    box = row_height - 8
    for name, color, (row, x, room) in zip(classes, palette, places, strict=True):
        y = row * row_height
        canvas[y + 4 : y + 4 + box, x + 2 : x + 2 + box] = color
        _write(canvas, name, x + box + 6, y + row_height - 6, room - box - 10, _font_size(row_height))
    return canvas


def _white(height: int, width: int) -> np.ndarray:
    return np.full((height + height % 2, width + width % 2, 3), 255, dtype=np.uint8)


def _to_tensor(canvas: np.ndarray) -> Tensor:
    return torch.from_numpy(canvas).permute(2, 0, 1).contiguous()


def _resize(image: Tensor, size: Size) -> np.ndarray:
    """(3, h, w) to (H, W, 3): enlarged by repeating pixels, so that nothing is invented, shrunk by averaging."""
    array = image.detach().cpu().permute(1, 2, 0).contiguous().numpy()
    if array.shape[:2] == size:
        return array
    method = cv2.INTER_NEAREST if array.shape[1] < size[1] else cv2.INTER_AREA
    return cv2.resize(array, (size[1], size[0]), interpolation=method)


@cache
def _font() -> Any:
    # OpenCV's "sans" draws zeros over their neighbours.
    return cv2.FontFace("uni")


def _text_width(text: str, size: int) -> int:
    _, _, width, _ = cv2.getTextSize((10_000, 100), text, (0, 0), _font(), size)
    return int(width)


def _write(canvas: np.ndarray, text: str, x: int, baseline: int, width: int, size: int = _FONT_SIZE) -> None:
    """Write one line, in a smaller font where it is too wide and cut off where that is not enough."""
    while size > _SMALLEST_FONT and _text_width(text, size) > width:
        size -= 1
    while text and _text_width(text, size) > width:
        text = text[:-1]
    if text:
        cv2.putText(canvas, text, (x, baseline), _INK, _font(), size)
