"""Charts of evaluations as images, (3, H, W) uint8 RGB: confusion matrix, mIoU by offset to the key frame, metric by setting."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

DPI = 110
_MAX_NUMBERED_CLASSES = 24  # with more classes, cells are too small for a number


def confusion_picture(confusion: Tensor, classes: Sequence[str], title: str = "") -> Tensor:
    """Draw a confusion matrix, each row in percent of its class's labelled pixels.

    Classes without labelled and predicted pixels are left out; rows of classes without labelled pixels are blank.

    Args:
        confusion: (K, K) counts, row = label, column = prediction; for K = 1 as of ``src.metrics.iou.count_pixels``.
        classes: K names.
        title: title of the chart.
    """
    if confusion.shape == (1, 3):
        confusion, classes = F.pad(confusion[0], (0, 1)).view(2, 2), (*classes, "background")
    if confusion.shape != (len(classes), len(classes)):
        raise ValueError(
            f"confusion matrix is {tuple(confusion.shape)} for {len(classes)} class names; expected (K, K) for K names"
        )
    counts = confusion.double().cpu().numpy()
    present = np.flatnonzero(counts.sum(0) + counts.sum(1))
    counts = counts[np.ix_(present, present)]
    totals = counts.sum(1, keepdims=True)
    share = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    names = [classes[k] for k in present.tolist()]
    numbers = len(present) <= _MAX_NUMBERED_CLASSES
    side = 1.0 + len(present) * (0.42 if numbers else 0.17)
    figure, axes = single_chart(side + 2.6, side + 1.8)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    font = 9 if numbers else 7
    axes.set_xticks(range(len(present)), names, rotation=90, fontsize=font)
    axes.set_yticks(range(len(present)), names, fontsize=font)
    axes.set(xlabel="predicted", ylabel="label")
    axes.set_title(title, fontsize=11)
    if numbers:
        for row, column in np.argwhere(share >= 0.5):
            value = share[row, column]
            color = "white" if value > 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    return render(figure)


def offset_picture(
    panels: Mapping[int, Mapping[str, Mapping[int, float]]],
    per_frame: float | None = None,
    axis: str = "frames since the key frame",
) -> Tensor:
    """Plot the mIoU against frames since the key frame, a panel per key interval and a line per method.

    The vertical axis does not start at zero, to show the decrease after the key frame.

    Args:
        panels: key interval -> method -> frames since the key frame -> mIoU 0..1.
        per_frame: mIoU of segmenting every frame, a dashed line.
        axis: label of the horizontal axis.
    """
    if not panels:
        raise ValueError("there is no key interval; expected at least one")
    methods = list(dict.fromkeys(method for curves in panels.values() for method in curves))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.6, 3.6 * rows), dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (interval, curves) in zip(grid.flat, panels.items(), strict=False):
        if per_frame is not None:
            axes.axhline(100 * per_frame, color="0.4", linestyle="--", linewidth=1, label="every frame segmented")
        for method, values in curves.items():
            offsets = sorted(values)
            scores = [100 * values[offset] for offset in offsets]
            color = f"C{methods.index(method)}"
            axes.plot(offsets, scores, color=color, marker="o", markersize=4, linewidth=1.5, label=method)
        axes.set_title(f"key interval {interval}", fontsize=11)
        axes.set_xlabel(axis)
        axes.set_xticks(sorted({offset for values in curves.values() for offset in values}))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel("mIoU, %")
    return render(figure)


def sweep_picture(curves: Mapping[str, Mapping[str, Sequence[float]]], setting: str, metric: str) -> Tensor:
    """Plot a metric against a setting: lines for numeric values, a row of points for each other value.

    The metric's axis does not start at zero, to show the differences. Repeated runs are points around their mean.

    Args:
        curves: line -> value of the setting -> results of the runs with that value.
        setting: name of the setting.
        metric: name and unit of the metric.
    """
    values = list(dict.fromkeys(value for points in curves.values() for value in points))
    if not values:
        raise ValueError(f"there is no result of {metric}; expected at least one")
    try:
        places, numbers = {value: float(value) for value in values}, True
    except ValueError:
        places, numbers = {value: -float(row) for row, value in enumerate(values)}, False
    # Values that are lists have long names; the points need additional width.
    size = (7.0, 4.0) if numbers else (5.5 + 0.08 * max(map(len, values)), 1.2 + 0.4 * len(values))
    figure, axes = single_chart(*size)
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
    return render(figure)


def single_chart(width: float, height: float) -> tuple[Figure, Axes]:
    """Create a figure of one chart; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def render(figure: Figure) -> Tensor:
    """Render a figure to an image."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    with Image.open(file) as image:
        picture: Tensor = pil_to_tensor(image.convert("RGB"))
    return picture
