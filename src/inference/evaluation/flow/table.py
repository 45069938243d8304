"""The tables of flows: one row per method and offset, or per method, as JSON, as CSV, on the screen and as charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from src.files.atomic_write import write_rgb
from src.inference.evaluation.flow.endpoint_errors import ClipError
from src.inference.evaluation.flow.label_propagation import OffsetScore
from src.inference.evaluation.table import Row
from src.visualization.charts import sweep_picture
from src.visualization.trade_off import trade_off_picture


def offset_rows(
    method: str, offsets: Sequence[int], scores: Sequence[OffsetScore] | None, cost: Row, classes: Sequence[str]
) -> list[Row]:
    """A row for each offset; scores 0..1.

    Args:
        method: its name.
        offsets: frames.
        scores: one for each offset; ``None`` for a method that was counted and timed alone: its scores are ``None``, too.
        cost: what the method costs, the same for all offsets (:func:`src.measure.flow_cost.cost_rows`).
        classes: K names.
    """
    if scores is None:
        return [{"method": method, "offset": offset, "miou": None, "wiou": None, **cost, "pairs": 0} for offset in offsets]
    return [
        {
            "method": method,
            "offset": score.offset,
            "miou": score.miou,
            "wiou": score.wiou,
            **cost,
            "pairs": score.pairs,
            "iou_per_class": {name: _finite(iou) for name, iou in zip(classes, score.iou_per_class, strict=True)},
        }
        for score in scores
    ]


def error_row(method: str, errors: Sequence[ClipError] | None, cost: Row) -> Row:
    """The row of a method; ``epe`` (pixels) and ``outlier_rate`` (0..1) are means over the clips, each counted the same.

    Args:
        method: its name.
        errors: of every clip; ``None`` for a method that was counted and timed alone.
        cost: see :func:`offset_rows`.
    """
    if errors is None:
        return {"method": method, "epe": None, "outlier_rate": None, **cost}
    return {
        "method": method,
        "epe": sum(one.epe for one in errors) / len(errors),
        "outlier_rate": sum(one.outlier_rate for one in errors) / len(errors),
        **cost,
        "epe_per_clip": {one.clip: one.epe for one in errors},
        "pairs": sum(one.pairs for one in errors),
    }


def flow_table(rows: Sequence[Row]) -> Table:
    """The rows of either task for the screen, under the data and what the costs are of."""
    first = rows[0]
    title = f"{first['data']}; cost at {first['cost_size']}, {first['device']}, {first['threads']} threads, {first['precision']}"
    return _offset_table(rows, title) if "offset" in first else _error_table(rows, title)


def _offset_table(rows: Sequence[Row], title: str) -> Table:
    """A line per method, mIoU in percent."""
    offsets = list(dict.fromkeys(row["offset"] for row in rows))
    table = Table(title=title)
    table.add_column("method", no_wrap=True)
    for heading in (*(f"offset {offset}" for offset in offsets), "GFLOPs", "params M", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["offset"]: row for row in rows if row["method"] == method}
        table.add_row(method, *(_percent(own[offset]["miou"]) for offset in offsets), *_costs(own[offsets[0]]))
    return table


def _error_table(rows: Sequence[Row], title: str) -> Table:
    """Pixels, a column for each of the first eight clips."""
    clips = next((list(row["epe_per_clip"]) for row in rows if "epe_per_clip" in row), [])[:8]
    table = Table(title=title)
    table.add_column("method", no_wrap=True)
    for heading in (*clips, "mean", "outliers %", "GFLOPs", "params M", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        of_clips = [_pixels(row.get("epe_per_clip", {}).get(clip)) for clip in clips]
        table.add_row(row["method"], *of_clips, _pixels(row["epe"]), _percent(row["outlier_rate"]), *_costs(row))
    return table


def draw_offsets(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``miou_by_offset.png`` and ``miou_by_cost.png`` (at the middle offset) of the scored rows.

    Args:
        rows: of label propagation.
        folder: made if missing; files of the same name are replaced.

    Returns:
        The files; none where no row has a score.
    """
    scored = [row for row in rows if row["miou"] is not None]
    if not scored:
        return []
    curves: dict[str, dict[str, list[float]]] = {}
    for row in scored:
        curves.setdefault(row["method"], {})[str(row["offset"])] = [100 * row["miou"]]
    offsets = sorted({row["offset"] for row in scored})
    middle = offsets[len(offsets) // 2]
    files = {"miou_by_offset": sweep_picture(curves, "frames that the labels were carried over", "mIoU of the labels, %")}
    panels: Mapping[str, Mapping[str, tuple[float, float]]] = {
        title: {
            row["method"]: (row[cost], 100 * row["miou"]) for row in scored if row["offset"] == middle and row[cost] is not None
        }
        for cost, title in (("ms", "ms per non-key frame"), ("gflops", "GFLOPs per non-key frame"))
    }
    panels = {title: points for title, points in panels.items() if any(cost > 0 for cost, _ in points.values())}
    if panels:
        files["miou_by_cost"] = trade_off_picture(panels, f"mIoU of the labels over {middle} frames, %")
    return [write_rgb(picture, folder / f"{name}.png") for name, picture in files.items()]


def _costs(row: Row) -> list[str]:
    return [
        "-" if row[name] is None else f"{row[name]:.{digits}f}" for name, digits in (("gflops", 2), ("params_m", 2), ("ms", 1))
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _pixels(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
