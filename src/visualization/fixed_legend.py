"""Legend of a video: a panel beside or below the picture in which every class keeps its place."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.structures import Size
from src.visualization.canvas import LIGHT, MIN_FONT_SIZE, text_width, write
from src.visualization.palette import Color, Palette

LegendPlace = Literal["side", "bottom"]

PANEL_COLOR: Color = (32, 32, 32)
_FRAME_COLOR: Color = (150, 150, 150)
_MIN_SHARE = 0.001  # of the pixels of a frame; below, a class does not take a place
_MAX_PANEL_HEIGHT = 1 / 6  # of the image height, at the bottom
_MAX_NAME_WIDTH = 1 / 3, 1 / 4  # of the image width, at the side and at the bottom
_ROW_HEIGHT = 1 / 25  # of the shorter image side
_SHRUNKEN_ROW = 0.6  # of the row height, if all classes have a place then
_MIN_ROW_HEIGHT = 18  # pixels; letters of less than 10 pixels are illegible
_MAX_ROW_HEIGHT = 1 / 4  # of the image height; in smaller images there is no legend


class _Layout(NamedTuple):
    height: int
    width: int
    row: int
    column: int

    @property
    def places(self) -> int:
        return (self.height // self.row) * (self.width // self.column) if self.column else 0


class FixedLegend:
    """Panel of class names with their colors, the same on every frame of a video.

    If all classes of the model have a place, they are in class order. Otherwise a class takes the next free place in the first
    frame of which it covers 0.1 %, and keeps it; classes that come when all places are taken are not named.
    """

    def __init__(self, classes: Sequence[str], palette: Palette, place: LegendPlace) -> None:
        self._names = [name.replace("_", " ") for name in classes]
        self._palette = tuple(palette)
        self._place: LegendPlace = place
        self._appeared: list[int] = []
        self._absent = np.ones(len(self._names), bool)
        self._cached: tuple[object, NDArray[np.uint8]] | None = None

    def panel(self, size: Size, shares: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the panel of the next frame: (H, width, 3) at the side, (height, W, 3) at the bottom, empty in small images.

        Args:
            size: H and W of the image; ``row_height`` of it must fit four times.
            shares: (K,) share of the pixels of every class.
        """
        new = np.flatnonzero((shares >= _MIN_SHARE) & self._absent)
        if len(new):
            self._absent[new] = False
            self._appeared += new[np.argsort(-shares[new], kind="stable")].tolist()
        if self._cached is None or self._cached[0] != (size, len(self._appeared)):
            self._cached = (size, len(self._appeared)), self._draw(_layout(self._names, size, self._place))
        return self._cached[1]

    def _draw(self, layout: _Layout) -> NDArray[np.uint8]:
        panel = np.full((layout.height, layout.width, 3), PANEL_COLOR, np.uint8)
        if not layout.places:
            return panel
        shown = range(len(self._names)) if len(self._names) <= layout.places else self._appeared[: layout.places]
        columns, box = layout.width // layout.column, layout.row - 8
        for place, k in enumerate(shown):
            y, x = place // columns * layout.row + 4, place % columns * layout.column + 6
            panel[y : y + box, x : x + box] = _FRAME_COLOR
            panel[y + 1 : y + box - 1, x + 1 : x + box - 1] = self._palette[k]
            write(panel, self._names[k], x + box + 5, y + box - 2, layout.column - box - 13, _font(layout.row), LIGHT)
        return panel


def row_height(size: Size) -> int:
    """Return the height of a line of text over an image, pixels, an even number."""
    return max(_MIN_ROW_HEIGHT, 2 * round(min(size) * _ROW_HEIGHT / 2))


def _font(row: int) -> int:
    return max(MIN_FONT_SIZE, row - 8)


def _layout(names: Sequence[str], size: Size, place: LegendPlace) -> _Layout:
    (height, width), row = size, row_height(size)
    if row > height * _MAX_ROW_HEIGHT or not names:
        return _Layout(height if place == "side" else 0, width if place == "bottom" else 0, row, 0)
    if place == "side":
        # Smaller rows only if they give all classes a place.
        least = max(_MIN_ROW_HEIGHT, 2 * round(_SHRUNKEN_ROW * row / 2))
        row = max(least, min(row, height // len(names)))
    widest = row + 5 + max(text_width(name, _font(row)) for name in names)
    column = min(widest, round(_MAX_NAME_WIDTH[place == "bottom"] * width)) // 2 * 2
    if place == "side":
        return _Layout(height, column, row, column)
    columns = max(1, width // column)
    rows = min(-(-len(names) // columns), max(1, int(_MAX_PANEL_HEIGHT * height / row)))
    return _Layout(rows * row, width, row, width // columns)
