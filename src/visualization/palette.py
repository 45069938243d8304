"""What a colour and a palette are."""

from __future__ import annotations

from collections.abc import Sequence

Color = tuple[int, int, int]
"""RGB, 0..255 each."""

Palette = Sequence[Color]
"""K colours, one per class."""

VOID_COLOR: Color = (0, 0, 0)
"""Colour of pixels labelled ``IGNORE_INDEX``."""
