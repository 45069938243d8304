"""Charts of evaluations: classes taken for one another, the score against offset to the key frame, and against a setting."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

_DPI = 110
# Up to so many classes, cells are large enough for a number.
_WITH_NUMBERS = 24


def confusion_picture(confusion: Tensor, classes: Sequence[str], title: str = "") -> Tensor:
    """A confusion matrix, each row in percent of its class's labelled pixels.

    Classes that neither a label nor a prediction holds are left out; rows of classes without a label are blank.

    Args:
        confusion: (K, K) counts, row = label, column = prediction.
        classes: K names.
        title: written above.

    Returns:
        (3, H, W) uint8 RGB.

    Raises:
        ValueError: if matrix and names differ in number.
    """
    if confusion.shape != (len(classes), len(classes)):
        raise ValueError(f"confusion matrix {tuple(confusion.shape)} and {len(classes)} class names; expected (K, K) and K")
    counts = confusion.double().cpu().numpy()
    held = np.flatnonzero(counts.sum(0) + counts.sum(1))
    # Of all predictions of a labelled pixel: those of classes left out are zero.
    counts = counts[np.ix_(held, held)]
    totals = counts.sum(1, keepdims=True)
    share = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    names = [classes[k] for k in held.tolist()]
    numbers = len(held) <= _WITH_NUMBERS
    side = 1.0 + len(held) * (0.42 if numbers else 0.17)
    figure = Figure(figsize=(side + 2.6, side + 1.8), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    font = 9 if numbers else 7
    axes.set_xticks(range(len(held)), names, rotation=90, fontsize=font)
    axes.set_yticks(range(len(held)), names, fontsize=font)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title(title, fontsize=11)
    if numbers:
        for row, column in np.argwhere(share >= 0.5):
            value = share[row, column]
            color = "white" if value > 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    return drawn(figure)


def offset_picture(panels: Mapping[int, Mapping[str, Mapping[int, float]]], per_frame: float | None = None) -> Tensor:
    """The mIoU against frames since the key frame, a panel per key interval and a line per method.

    The vertical axis does not start at zero: what matters is the fall from the key frame on.

    Args:
        panels: key interval -> method -> frames since the key frame -> mIoU 0..1.
        per_frame: mIoU where every frame is segmented; drawn as a dashed line.

    Returns:
        (3, H, W) uint8 RGB.

    Raises:
        ValueError: if there is no panel.
    """
    if not panels:
        raise ValueError("no key interval to draw; expected at least one")
    methods = list(dict.fromkeys(method for curves in panels.values() for method in curves))
    colors = {method: f"C{number}" for number, method in enumerate(methods)}
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.6, 3.6 * rows), dpi=_DPI, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (interval, curves) in zip(grid.flat, panels.items(), strict=False):
        if per_frame is not None:
            axes.axhline(100 * per_frame, color="0.4", linestyle="--", linewidth=1, label="every frame segmented")
        for method, values in curves.items():
            offsets = sorted(values)
            scores = [100 * values[offset] for offset in offsets]
            axes.plot(offsets, scores, color=colors[method], marker="o", markersize=4, linewidth=1.5, label=method)
        axes.set_title(f"key interval {interval}", fontsize=11)
        axes.set_xlabel("frames since the key frame")
        axes.set_xticks(sorted({offset for values in curves.values() for offset in values}))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("mIoU, %")
    return drawn(figure)


def sweep_picture(curves: Mapping[str, Mapping[str, Sequence[float]]], setting: str, metric: str) -> Tensor:
    """What a setting does to a metric: a line over numbers, a row of points for each value that is none.

    The metric's axis does not start at zero: what matters are the differences. Repeated runs are points around their mean.

    Args:
        curves: line -> value of the setting -> results of the runs that had it.
        setting: its name.
        metric: its name and unit.

    Returns:
        (3, H, W) uint8 RGB.

    Raises:
        ValueError: if there is nothing to draw.
    """
    values = list(dict.fromkeys(value for points in curves.values() for value in points))
    if not values:
        raise ValueError(f"no result of {metric} to draw; expected at least one")
    try:
        places, numbers = {value: float(value) for value in values}, True
    except ValueError:
        places, numbers = {value: -float(row) for row, value in enumerate(values)}, False
    # Lists of parts make long names, and the points need their room.
    size = (7.0, 4.0) if numbers else (5.5 + 0.08 * max(map(len, values)), 1.2 + 0.4 * len(values))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(curves.items()):
        ordered = sorted(points, key=places.__getitem__)
        means = [(places[value], float(np.mean(points[value]))) for value in ordered]
        every = [(places[value], result) for value in ordered for result in points[value]]
        for pairs, style in ((means, "o-" if numbers else "o"), (every, ".")):
            along, results = zip(*pairs, strict=True)
            label = name if pairs is means and name else None
            axes.plot(*((along, results) if numbers else (results, along)), style, color=f"C{number}", label=label)
    if numbers:
        axes.set_xticks(sorted(places.values()), sorted(values, key=places.__getitem__))
        axes.set(xlabel=setting, ylabel=metric)
    else:
        axes.set_yticks([places[value] for value in values], values)
        axes.set(xlabel=metric, ylabel=setting, ylim=(0.5 - len(values), 0.5))
    axes.grid(alpha=0.3)
    if any(curves):
        axes.legend(fontsize=8)
    return drawn(figure)


def drawn(figure: Figure) -> Tensor:
    """A finished figure as pixels, (3, H, W) uint8 RGB."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
