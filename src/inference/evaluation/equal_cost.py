"""Comparison of schedulers with fixed intervals of equal GFLOPs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.files.atomic_write import write_rgb
from src.files.tables import Row
from src.inference.evaluation.fusing import Fusing
from src.visualization.cost_charts import cost_curves_picture


def curves(rows: Sequence[Row]) -> dict[str, list[tuple[float, float]]]:
    """Collect measured GFLOPs per frame and mIoU of every method and scheduler, by increasing cost.

    The row that segments every frame belongs to every method, since nothing is propagated there. Returns
    ``<method>, <fusion>, <scheduler>`` -> (GFLOPs, mIoU 0..1) of each row of
    :func:`src.inference.evaluation.scheduled_rows.scheduled_row`.
    """
    every_frame = [row for row in rows if _segments_every_frame(row)]
    propagated = [row for row in rows if not _segments_every_frame(row)]
    found: dict[str, list[tuple[float, float]]] = {}
    for name, scheduler in dict.fromkeys((_name(row), row["scheduler"]) for row in propagated):
        own = [row for row in propagated if (_name(row), row["scheduler"]) == (name, scheduler)]
        shared = every_frame[:1] if scheduler == "fixed" else []
        points = [(row["gflops_measured"], row["miou"]) for row in (*own, *shared)]
        found[f"{name}, {scheduler}"] = sorted(points)
    return found


def over_fixed(rows: Sequence[Row]) -> list[float | None]:
    """Compute each row's gain over fixed intervals of the same method and fusion at equal measured cost.

    Scores between two fixed intervals are interpolated linearly, which is the score of switching between the two. Returns
    differences of mIoU (0..1) in the order of the rows; ``None`` for fixed rows and for costs outside the fixed intervals'.
    """
    lines = {name: points for name, points in curves(rows).items() if name.endswith(", fixed")}
    gains: list[float | None] = []
    for row in rows:
        points = lines.get(f"{_name(row)}, fixed", [])
        cost = row["gflops_measured"]
        if row["scheduler"] == "fixed" or cost is None or not points or not points[0][0] <= cost <= points[-1][0]:
            gains.append(None)
            continue
        costs, scores = zip(*points, strict=True)
        gains.append(row["miou"] - float(np.interp(cost, costs, scores)))
    return gains


def write_curves(rows: Sequence[Row], folder: Path) -> dict[str, Path]:
    """Draw :func:`curves` as ``miou_by_gflops.png``; return the file by its stem, or nothing if nothing was propagated."""
    lines = {name: [(cost, 100 * score) for cost, score in points] for name, points in curves(rows).items()}
    if not lines:
        return {}
    picture = cost_curves_picture(lines, "measured GFLOPs per frame", "mIoU, %")
    return {"miou_by_gflops": write_rgb(picture, folder / "miou_by_gflops.png")}


def _segments_every_frame(row: Row) -> bool:
    return row["key_interval"] == 1 and not row["fuse_keys"]


def _name(row: Row) -> str:
    return ", ".join([row["method"], *Fusing(row["mode"], row["fusion"], row["fuse_keys"]).words])
