"""A chart of where the time of a frame goes, beside the least that its multiply-adds can take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from src.visualization.charts import render

_DPI = 110


def roofline_picture(parts: Sequence[Mapping[str, Any]], title: str = "") -> Tensor:
    """Plot horizontal bars of the measured time and the roofline time of each part.

    Args:
        parts: ``name``, ``ms`` and ``roofline_ms`` of each part, from top to bottom.
        title: title of the chart.

    Returns:
        (3, H, W) uint8 RGB.

    Raises:
        ValueError: if there is no part.
    """
    if not parts:
        raise ValueError("there is no part; expected at least one")
    places = -np.arange(len(parts), dtype=float)
    figure = Figure(figsize=(8.5, 1.3 + 0.42 * len(parts)), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.barh(places + 0.19, [part["ms"] for part in parts], 0.36, color="C0", label="measured")
    axes.barh(
        places - 0.19,
        [part["roofline_ms"] for part in parts],
        0.36,
        color="0.65",
        label="roofline: multiply-adds at matrix-product rate",
    )
    for place, part in zip(places, parts, strict=True):
        words = f" {part['ms']:.0f} ms"
        if part["roofline_ms"] >= 0.05:
            words += f", {part['ms'] / part['roofline_ms']:.1f}x"
        axes.text(max(part["ms"], part["roofline_ms"]), place, words, va="center", fontsize=8)
    axes.set_yticks(places, [part["name"] for part in parts], fontsize=9)
    axes.set_xlabel("milliseconds")
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, loc="lower right")
    return render(figure)
