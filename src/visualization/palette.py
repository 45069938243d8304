"""Types of colors and palettes, and the values that pictures share."""

from collections.abc import Sequence
from typing import Literal

Color = tuple[int, int, int]
"""RGB, 0..255 each."""

Palette = Sequence[Color]
"""K colors, one per class."""

PaletteChoice = Literal["names", "dataset"]
"""``names``: each class has the color of its name in all pictures; ``dataset``: the colors of the data set or of the model."""

VOID_COLOR: Color = (0, 0, 0)
"""Color of pixels labelled ``IGNORE_INDEX``."""

DEFAULT_ALPHA = 0.4
"""Weight of the class colors over an image."""
