"""Rows of flow evaluations, one per method (and offset), their tables for the terminal and their charts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from src.files.atomic_write import write_rgb
from src.files.tables import Row, console_table, number, without_nan
from src.inference.evaluation.flow.endpoint_errors import ClipError
from src.inference.evaluation.flow.label_propagation import OffsetScore
from src.visualization.charts import sweep_picture
from src.visualization.cost_charts import trade_off_picture

_COSTS = {"gflops": ("GFLOPs", 2), "params_m": ("params M", 2), "ms": ("ms", 1)}


def offset_rows(
    method: str, offsets: Sequence[int], scores: Sequence[OffsetScore] | None, cost: Row, classes: Sequence[str]
) -> list[Row]:
    """Build a row for each offset; scores 0..1.

    Args:
        method: name of the method.
        offsets: frames from key frame to target frame.
        scores: one per offset; ``None`` for a method that is only counted and timed, whose scores are ``None``.
        cost: cost of the method, the same for all offsets (:func:`src.measure.flow_cost.cost_rows`).
        classes: K names.
    """
    if scores is None:
        return [{"method": method, "offset": offset, "miou": None, "wiou": None, **cost, "pairs": 0} for offset in offsets]
    return [
        {
            "method": method,
            "offset": score.offset,
            **without_nan({"miou": score.miou, "wiou": score.wiou}),
            **cost,
            "pairs": score.pairs,
            "iou_per_class": without_nan(dict(zip(classes, score.iou_per_class, strict=True))),
        }
        for score in scores
    ]


def error_row(method: str, errors: Sequence[ClipError] | None, cost: Row) -> Row:
    """Build the row of a method; ``epe`` (pixels) and ``outlier_rate`` (0..1) are means over the clips, equally weighted.

    ``errors`` is ``None`` for a method that is only counted and timed.
    """
    if errors is None:
        return {"method": method, "epe": None, "outlier_rate": None, **cost}
    return {
        "method": method,
        **without_nan({name: sum(getattr(one, name) for one in errors) / len(errors) for name in ("epe", "outlier_rate")}),
        **cost,
        "epe_per_clip": without_nan({one.clip: one.epe for one in errors}),
        "pairs": sum(one.pairs for one in errors),
    }


def flow_table(rows: Sequence[Row]) -> Table:
    """Build the terminal's table of either task; the title contains the data and the conditions of the costs."""
    first = rows[0]
    title = f"{first['data']}; cost at {first['cost_size']}, {first['device']}, {first['threads']} threads, {first['precision']}"
    headings = [heading for heading, _ in _COSTS.values()]
    costs = {row["method"]: [number(row[name], digits) for name, (_, digits) in _COSTS.items()] for row in rows}
    if "offset" in first:
        scores = {(row["method"], row["offset"]): number(row["miou"], 1, 100) for row in rows}
        offsets = list(dict.fromkeys(row["offset"] for row in rows))
        lines = [[method, *(scores[method, offset] for offset in offsets), *cost] for method, cost in costs.items()]
        return console_table(["method", *(f"offset {offset}" for offset in offsets), *headings], lines, title)
    clips = next((list(row["epe_per_clip"]) for row in rows if "epe_per_clip" in row), [])[:8]
    lines = []
    for row in rows:
        errors = row.get("epe_per_clip", {})
        figures = [*(number(errors.get(clip), 2) for clip in clips), number(row["epe"], 2), number(row["outlier_rate"], 1, 100)]
        lines.append([row["method"], *figures, *costs[row["method"]]])
    return console_table(["method", *clips, "mean", "outliers %", *headings], lines, title)


def draw_offsets(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``miou_by_offset.png`` and ``miou_by_cost.png`` (at the middle offset) of the scored :func:`offset_rows`.

    The folder is created if missing; files of the same name are replaced.
    """
    scored = [row for row in rows if row["miou"] is not None]
    if not scored:
        return []
    curves: dict[str, dict[str, list[float]]] = {}
    for row in scored:
        curves.setdefault(row["method"], {})[str(row["offset"])] = [100 * row["miou"]]
    offsets = sorted({row["offset"] for row in scored})
    middle = offsets[len(offsets) // 2]
    files = {"miou_by_offset": sweep_picture(curves, "offset, frames", "mIoU of the labels, %")}
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
