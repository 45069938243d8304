"""Types of colors and palettes."""

from collections.abc import Sequence

Color = tuple[int, int, int]
"""RGB, 0..255 each."""

Palette = Sequence[Color]
"""K colors, one per class."""

VOID_COLOR: Color = (0, 0, 0)
"""Color of pixels labelled ``IGNORE_INDEX``."""
