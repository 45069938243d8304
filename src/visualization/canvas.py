"""Grids of titled images, and class legends."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.structures import Size
from src.visualization.palette import Color, Palette

GAP = 4
TITLE_HEIGHT = 22
_FONT_SIZE = 14
MIN_FONT_SIZE = 8
DARK: Color = (30, 30, 30)
LIGHT: Color = (235, 235, 235)


class Tile(NamedTuple):
    """Image of a grid, (3, H, W) uint8 RGB, with a title above."""

    title: str
    image: Tensor


def tile_size(size: Size, min_width: int = 240, max_width: int = 640) -> Size:
    """Return the display size of an image: small images grow by an integer factor, large ones shrink."""
    height, width = size
    if width < min_width:
        factor = -(-min_width // width)
        return height * factor, width * factor
    if width > max_width:
        return max(1, round(height * max_width / width)), max_width
    return height, width


def tile_grid(rows: Sequence[Sequence[Tile]], min_width: int = 240, max_width: int = 640) -> Tensor:
    """Arrange titled tiles in rows with white gaps, all at the display size of the first tile (:func:`tile_size`).

    Shorter rows are filled with white.

    Returns:
        (3, H, W) uint8 with even sides, as H.264 requires.
    """
    if not rows or not rows[0]:
        raise ValueError("there is no tile; expected at least one")
    first = rows[0][0].image
    size = tile_size((first.shape[-2], first.shape[-1]), min_width, max_width)
    strips = [torch.cat([F.pad(_titled(tile, size), (0, GAP, 0, GAP), value=255) for tile in row], dim=2) for row in rows]
    grid = stack(strips)[..., :-GAP]
    return F.pad(grid, (0, grid.shape[-1] % 2, 0, grid.shape[-2] % 2), value=255)


def legend(classes: Sequence[str], palette: Palette, width: int, row_height: int = TITLE_HEIGHT) -> Tensor:
    """Draw color boxes with class names, wrapped like words of a text.

    Args:
        classes: K names.
        palette: K colors.
        width: width of the legend, pixels.
        row_height: height of a row, pixels; the font size follows it.

    Returns:
        (3, H, width) uint8, H even.
    """
    if len(classes) != len(palette):
        raise ValueError(f"{len(classes)} class names but {len(palette)} colors; expected one each")
    font, box = max(MIN_FONT_SIZE, row_height - 8), row_height - 8
    row = x = 0
    places = []
    for name in classes:
        entry = min(box + 6 + text_width(name, font) + font, width)
        if x + entry > width:
            row, x = row + 1, 0
        places.append((row * row_height, x, entry))
        x += entry
    height = (row + 1) * row_height
    canvas = np.full((height + height % 2, width, 3), 255, dtype=np.uint8)
    for name, color, (y, x, entry) in zip(classes, palette, places, strict=True):
        canvas[y + 4 : y + 4 + box, x + 2 : x + 2 + box] = color
        write(canvas, name, x + box + 6, y + row_height - 6, entry - box - 10, font)
    return _to_tensor(canvas)


def label(text: str, color: Color, row_height: int, max_width: int = 10_000, ink: Color = DARK) -> np.ndarray:
    """Draw one line of text on a colored background: (row_height, W, 3) uint8, as wide as the text, at most ``max_width``.

    A text that is too wide is written in a smaller font and, if that is not enough, truncated.
    """
    font = max(MIN_FONT_SIZE, row_height - 8)
    canvas = np.full((row_height, min(text_width(text, font) + 8, max_width), 3), color, dtype=np.uint8)
    write(canvas, text, 4, row_height - 6, canvas.shape[1] - 4, font, ink)
    return canvas


def stack(pictures: Sequence[Tensor]) -> Tensor:
    """Arrange images, (3, H, W) uint8 each, in a column; narrower ones are filled with white at the right."""
    width = max(picture.shape[-1] for picture in pictures)
    return torch.cat([F.pad(picture, (0, width - picture.shape[-1]), value=255) for picture in pictures], dim=1)


def _titled(tile: Tile, size: Size) -> Tensor:
    title = np.full((TITLE_HEIGHT, size[1], 3), 255, dtype=np.uint8)
    write(title, tile.title, 2, TITLE_HEIGHT - 6, size[1] - 4, _FONT_SIZE)
    return torch.cat((_to_tensor(title), resize(tile.image, size)), dim=1)


def _to_tensor(canvas: np.ndarray) -> Tensor:
    return torch.from_numpy(canvas).permute(2, 0, 1).contiguous()


def resize(image: Tensor, size: Size) -> Tensor:
    """Return an image, (3, H, W) uint8, of another size: enlarge by repeating pixels, shrink by averaging."""
    array = image.detach().cpu().permute(1, 2, 0).contiguous().numpy()
    method = cv2.INTER_NEAREST if array.shape[1] < size[1] else cv2.INTER_AREA
    return _to_tensor(cv2.resize(array, (size[1], size[0]), interpolation=method))


@cache
def _font() -> Any:
    # OpenCV's "uni" covers Latin, Cyrillic and Chinese letters; Pillow's built-in font has no umlauts.
    return cv2.FontFace("uni")


def text_width(text: str, size: int) -> int:
    """Return the width of one line in pixels."""
    _, _, width, _ = cv2.getTextSize((10_000, 100), text, (0, 0), _font(), size)
    return int(width)


def write(canvas: np.ndarray, text: str, x: int, baseline: int, width: int, size: int, ink: Color = DARK) -> None:
    """Write one line, in a smaller font if it is too wide, and truncated if that is not enough."""
    while size > MIN_FONT_SIZE and text_width(text, size) > width:
        size -= 1
    while text and text_width(text, size) > width:
        text = text[:-1]
    if text:
        cv2.putText(canvas, text, (x, baseline), ink, _font(), size)
