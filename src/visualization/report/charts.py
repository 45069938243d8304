"""Charts of the course of a prediction, as SVG whose text and axes have the color of the surrounding page."""

import io
import math
import re
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from src.visualization.palette import Palette
from src.visualization.report.timeline import Timeline

_INK = "#010203"  # replaced by the color of the page's text
_FLICKER, _KEY, _OTHER, _CONFIDENCE = "#d9534f", "#e08a00", "#3b82c4", "#2a9d74"
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_OUTLIER = 2.5  # times the upper quartile: the first frames prepare the networks and would flatten all others
_MARKED_BINS = 60  # with more bins, points are too close for markers
MAX_CLASSES = 16
"""Largest number of classes with an area of their own; the others share one."""


def course_chart(timeline: Timeline, palette: Palette, width: float) -> str:
    """Draw class shares, key frames, flicker, time per frame and confidence, those that there are, over one time axis.

    Args:
        timeline: figures of at least one frame.
        palette: K colors.
        width: width of the chart, inches; text has a fixed size.

    Returns:
        SVG element without fixed size and without scripts or links.
    """
    drawn = [("class shares, %", 2.6, _shares), ("key frames", 0.35 + 0.2 * len(timeline.keys()), _keys)]
    if timeline.means("flicker").overall is not None:
        drawn.append(("flicker, %", 1.1, _flicker))
    drawn.append(("ms per frame", 1.1, _cost))
    if timeline.means("confidence").overall is not None:
        drawn.append(("confidence, %", 1.1, _confidence))
    heights = [height for _, height, _ in drawn]
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(width, sum(heights) + 0.45 * len(heights)), layout="constrained")
        rows = figure.subplots(len(drawn), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, _, draw) in zip(rows, drawn, strict=True):
            draw(axes, timeline, palette)
            axes.set_title(title, loc="left", fontsize=10, color=_INK)
            _style(axes)
        _time_axis(rows[-1], timeline.edges, most=max(3, int(width / 1.3)))
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _inline(file.getvalue(), f"course{round(100 * width)}")


def class_groups(mean_shares: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Return the classes with an area of their own, and those that share one, each in class order; absent ones are in neither."""
    present = [k for k in np.argsort(-mean_shares, kind="stable").tolist() if mean_shares[k] > 0]
    own = MAX_CLASSES if len(present) <= MAX_CLASSES else MAX_CLASSES - 1
    return sorted(present[:own]), sorted(present[own:])


def _shares(axes: Axes, timeline: Timeline, palette: Palette) -> None:
    shares = 100 * timeline.shares
    own, others = class_groups(timeline.mean_shares)
    layers = [shares[:, k] for k in own] + ([shares[:, others].sum(1)] if others else [])
    colors = ["#{:02x}{:02x}{:02x}".format(*palette[k]) for k in own] + (["#808080"] if others else [])
    axes.set_ylim(0, 100)
    # Steps, so that a bin has its share over its whole time.
    if layers:
        steps = [np.append(layer, layer[-1]).round(2) for layer in layers]
        axes.stackplot(timeline.edges, steps, colors=colors, step="post", linewidth=0)


def _keys(axes: Axes, timeline: Timeline, palette: Palette) -> None:
    keys = timeline.keys()
    centers = (timeline.edges[:-1] + timeline.edges[1:]) / 2
    for row, counts in enumerate(keys.values()):
        axes.vlines(centers[counts > 0], row - 0.36, row + 0.36, color=f"C{row}", linewidth=1.2)
    axes.set_yticks(range(len(keys)), [reason.replace("_", " ") or "every frame" for reason in keys])
    axes.set_ylim(len(keys) - 0.4, -0.6)


def _flicker(axes: Axes, timeline: Timeline, palette: Palette) -> None:
    means = 100 * timeline.means("flicker").per_bin
    if timeline.bin_frames > 1:
        peaks = np.where(np.isnan(means), np.nan, 100 * timeline.flicker_peaks)
        _line(axes, timeline, peaks, _FLICKER, f"largest of {timeline.bin_frames} frames", alpha=0.4)
    _line(axes, timeline, means, _FLICKER, f"mean of {timeline.bin_frames} frames")
    axes.set_ylim(bottom=0)
    if timeline.bin_frames > 1:
        _legend(axes)


def _cost(axes: Axes, timeline: Timeline, palette: Palette) -> None:
    limits = []
    for name, color, label in (("key", _KEY, "key frames"), ("other", _OTHER, "other frames")):
        means = timeline.means(name)
        if means.overall is not None:
            along = means.per_bin
            known = ~np.isnan(along)
            # Between two key frames there are others, so that a line must skip bins.
            centers = (timeline.edges[:-1] + timeline.edges[1:]) / 2
            axes.plot(centers[known], 1e3 * along[known], color=color, linewidth=1.1, label=label, **_markers(int(known.sum())))
            limits.append(1e3 * min(along[known].max(), _OUTLIER * np.percentile(along[known], 75)))
    axes.set_ylim(0, 1.05 * max(limits, default=0.0) or 1.0)
    _legend(axes)


def _confidence(axes: Axes, timeline: Timeline, palette: Palette) -> None:
    _line(axes, timeline, 100 * timeline.means("confidence").per_bin, _CONFIDENCE, "")
    axes.set_ylim(0, 100)


def _line(axes: Axes, timeline: Timeline, values: NDArray[np.float64], color: str, label: str, alpha: float = 1.0) -> None:
    centers = (timeline.edges[:-1] + timeline.edges[1:]) / 2
    axes.plot(centers, values, color=color, linewidth=1.1, label=label, alpha=alpha, **_markers(len(values)))


def _markers(points: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 2.5} if points <= _MARKED_BINS else {}


def _legend(axes: Axes) -> None:
    axes.legend(
        fontsize=9, labelcolor=_INK, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98), borderaxespad=0,
        handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip


def _style(axes: Axes) -> None:
    axes.tick_params(colors=_INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.margins(x=0)


def _time_axis(axes: Axes, edges: NDArray[np.float64], most: int) -> None:
    start, end = float(edges[0]), float(edges[-1])
    length = max(end - start, 1e-3)
    axes.set_xlim(start, start + length)
    step = next((step for step in _STEPS if length / step <= most), _STEPS[-1] * math.ceil(length / _STEPS[-1] / most))
    axes.xaxis.set_major_locator(MultipleLocator(step if length > _STEPS[0] else length))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value, length)))


def clock(seconds: float, length: float) -> str:
    """Return a time as ``2.5 s``, ``1:05`` or ``1:00:05``, by the length of the whole, seconds."""
    if length < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if length >= 3600 else f"{minutes}:{rest:02}"


def _inline(svg: str, prefix: str) -> str:
    """Return the element of an SVG file without its declaration, metadata and fixed size; ``prefix`` begins its references."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    opening = re.search(r'viewBox="[^"]*"', svg[: svg.index(">")])
    assert opening is not None
    body = svg[svg.index(">") + 1 :].replace(_INK, "currentColor")
    # The names of links in SVG are addresses, of which a page without a network has none.
    body = body.replace("xlink:href", "href")
    # matplotlib's are hashes of coordinates, whose last digits differ from figure to figure.
    for number, name in enumerate(dict.fromkeys(re.findall(r'\bid="([a-z][0-9a-f]{10})"', body))):
        body = body.replace(name, f"{prefix}-{number}")
    return f'<svg {opening.group()} aria-hidden="true" focusable="false">{body.strip()}'
