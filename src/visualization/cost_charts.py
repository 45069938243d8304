"""Charts of cost as images, (3, H, W) uint8 RGB: a score against its cost, the time of each part against its roofline."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from src.visualization.charts import DPI, render, single_chart


def trade_off_picture(panels: Mapping[str, Mapping[str, tuple[float, float]]], metric: str) -> Tensor:
    """Plot a score against its cost, a panel for each kind of cost.

    The cost axis is logarithmic, with zero cost at a tick "0" at its left end. The metric's axis does not start at zero.

    Args:
        panels: name and unit of the cost -> method -> (cost, score), cost at least 0.
        metric: name and unit of the score.
    """
    points = [point for panel in panels.values() for point in panel.values()]
    if not panels or not all(panels.values()):
        raise ValueError(f"{len(panels)} kinds of cost with {len(points)} methods; expected at least one of each")
    if min(cost for cost, _ in points) < 0:
        raise ValueError("a cost is negative; expected costs of at least 0")
    methods = list(dict.fromkeys(method for panel in panels.values() for method in panel))
    figure = Figure(figsize=(5.4 * len(panels) + 0.4, 4.0), dpi=DPI, layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (cost_name, panel) in zip(grid, panels.items(), strict=True):
        positive = [cost for cost, _ in panel.values() if cost > 0] or [1.0]
        left, right = min(positive) / 4, max(positive) * 4
        for method, (cost, score) in panel.items():
            color = f"C{methods.index(method) % 10}"
            axes.plot([cost or left], [score], "o", color=color, markersize=8, label=method)
        axes.set_xscale("log")
        axes.set_xlim(left / 1.5, right)
        ticks = [10.0**power for power in range(-6, 9) if left * 1.5 < 10.0**power < right]
        free = [left] if any(cost == 0 for cost, _ in panel.values()) else []
        axes.set_xticks([*free, *ticks], [*("0" for _ in free), *(f"{tick:g}" for tick in ticks)])
        axes.minorticks_off()
        axes.set_xlabel(cost_name)
        axes.margins(y=0.12)
        axes.grid(alpha=0.3)
        # In a legend, because names at the points would overlap: the presets of an estimator are close together.
        axes.legend(fontsize=8)
    grid[0].set_ylabel(metric)
    return render(figure)


def cost_curves_picture(curves: Mapping[str, Sequence[tuple[float, float]]], cost: str, metric: str) -> Tensor:
    """Plot a score against its cost, a line for each method. Neither axis starts at zero.

    Args:
        curves: name -> (cost, score), in order of rising cost.
        cost: name and unit of the cost.
        metric: name and unit of the score.
    """
    if not any(curves.values()):
        raise ValueError(f"{len(curves)} curves without a point; expected at least one")
    figure, axes = single_chart(6.4, 4.4)
    for number, (name, points) in enumerate(curves.items()):
        costs, scores = zip(*points, strict=True)
        # Different markers keep coinciding points visible.
        axes.plot(costs, scores, marker="osD^v<>"[number % 7], markersize=5, linewidth=1.2, alpha=0.8, label=name)
    axes.set(xlabel=cost, ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return render(figure)


def roofline_picture(parts: Sequence[Mapping[str, Any]], title: str = "") -> Tensor:
    """Plot horizontal bars of the measured time and the roofline time of each part.

    Args:
        parts: ``name``, ``ms`` and ``roofline_ms`` of each part, from top to bottom.
        title: title of the chart.
    """
    if not parts:
        raise ValueError("there is no part; expected at least one")
    places = -np.arange(len(parts), dtype=float)
    figure, axes = single_chart(8.5, 1.3 + 0.42 * len(parts))
    axes.barh(places + 0.19, [part["ms"] for part in parts], 0.36, color="C0", label="measured")
    bound = "roofline: multiply-adds at matrix-product rate"
    axes.barh(places - 0.19, [part["roofline_ms"] for part in parts], 0.36, color="0.65", label=bound)
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
