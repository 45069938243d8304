"""Comparison of schedulers with fixed intervals of equal GFLOPs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.files.atomic_write import write_rgb
from src.files.tables import Row
from src.visualization.cost_charts import cost_curves_picture


def curves(rows: Sequence[Row]) -> dict[str, list[tuple[float, float]]]:
    """Collect measured GFLOPs per frame and mIoU of every method and scheduler, by increasing cost.

    The row of key interval 1 belongs to every method, since nothing is propagated there. Returns ``<method>, <scheduler>`` ->
    (GFLOPs, mIoU 0..1) of each row of :func:`src.inference.evaluation.table.result_row`.
    """
    every_frame = [row for row in rows if row["key_interval"] == 1]
    found: dict[str, list[tuple[float, float]]] = {}
    for method, scheduler in dict.fromkeys((row["method"], row["scheduler"]) for row in rows if row["key_interval"] != 1):
        own = [row for row in rows if (row["method"], row["scheduler"]) == (method, scheduler) and row["key_interval"] != 1]
        shared = every_frame[:1] if scheduler == "fixed" else []
        points = [(row["gflops_measured"], row["miou"]) for row in (*own, *shared)]
        found[f"{method}, {scheduler}"] = sorted(points)
    return found


def over_fixed(rows: Sequence[Row]) -> list[float | None]:
    """Compute each row's gain over fixed intervals of the same method at equal measured cost.

    Scores between two fixed intervals are interpolated linearly, which is the score of switching between the two. Returns
    differences of mIoU (0..1) in the order of the rows; ``None`` for fixed rows and for costs outside the fixed intervals'.
    """
    lines = {name: points for name, points in curves(rows).items() if name.endswith(", fixed")}
    gains: list[float | None] = []
    for row in rows:
        points = lines.get(f"{row['method']}, fixed", [])
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
