"""Contact sheet of labelled frames: image, label in class colors, and overlay."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.ops.resize import resize_nearest
from src.structures import IGNORE_INDEX
from src.visualization.canvas import Tile, legend, stack, tile_grid
from src.visualization.overlay import colorize, overlay
from src.visualization.palette import VOID_COLOR, Color, Palette

UNDEFINED_COLOR: Color = (255, 0, 255)
_TILE_WIDTH = 280


class SheetFrame(NamedTuple):
    """Frame of a contact sheet.

    Attributes:
        name: title.
        image: (3, H, W) uint8 RGB.
        label: (h, w) int64, 0..K-1, K for undefined values, or ``IGNORE_INDEX``; ``None`` without a label.
    """

    name: str
    image: Tensor
    label: Tensor | None


def contact_sheet(frames: Sequence[SheetFrame], classes: Sequence[str], palette: Palette) -> Tensor:
    """Draw one row per frame, and a legend of the classes that occur.

    A label of another size than its image is stretched for the overlay; the title of the label names its size.

    Args:
        frames: at least one frame.
        classes: K names.
        palette: K colors.

    Returns:
        (3, H, W) uint8 RGB.
    """
    colors = (*palette, UNDEFINED_COLOR)
    rows, occurring = [], set[int]()
    for name, image, label in frames:
        tiles = [Tile(name, image)]
        if label is not None:
            occurring |= set(torch.unique(label).tolist())
            size = (image.shape[-2], image.shape[-1])
            tiles.append(Tile(f"label, {label.shape[0]}x{label.shape[1]} (HxW)", colorize(label, colors)))
            tiles.append(Tile("overlay", overlay(image, resize_nearest(label, size), colors)))
        rows.append(tile_grid([tiles], _TILE_WIDTH // 2, _TILE_WIDTH))
    named = {**dict(enumerate(zip(classes, palette, strict=True))), len(classes): ("undefined", UNDEFINED_COLOR)}
    named[IGNORE_INDEX] = ("void", VOID_COLOR)
    shown = [named[k] for k in sorted(occurring)]
    sheet = stack(rows)
    if not shown:
        return sheet
    names, shown_colors = zip(*shown, strict=True)
    return stack([sheet, legend(names, shown_colors, sheet.shape[-1])])
