"""Schedulers compared at equal cost: what a fixed interval would have scored for the same GFLOPs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.files.atomic_write import write_rgb
from src.files.tables import Row
from src.visualization.trade_off import cost_curves_picture


def curves(rows: Sequence[Row]) -> dict[str, list[tuple[float, float]]]:
    """Measured GFLOPs per frame and mIoU of every method and scheduler, by rising cost.

    The row of key interval 1 belongs to every method: nothing is propagated there.

    Args:
        rows: of :func:`src.inference.evaluation.table.result_row`.

    Returns:
        ``<method>, <scheduler>`` -> (GFLOPs, mIoU 0..1) of each row.
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
    """By how much each row scores more than fixed intervals of the same method would at its cost.

    Between two fixed intervals the straight line counts, which is what switching between the two scores; measured costs on both
    sides. ``None`` for fixed rows, and where the fixed intervals do not reach so low or so high a cost.

    Args:
        rows: of :func:`src.inference.evaluation.table.result_row`, all of one evaluation.

    Returns:
        Differences of mIoU (0..1), in the order of the rows.
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
    """Draw :func:`curves` as ``miou_by_gflops.png``.

    Args:
        rows: as for :func:`curves`.
        folder: made if missing; a file of the same name is replaced.

    Returns:
        The file by its name without ending; nothing where nothing was propagated.
    """
    lines = {name: [(cost, 100 * score) for cost, score in points] for name, points in curves(rows).items()}
    if not lines:
        return {}
    picture = cost_curves_picture(lines, "GFLOPs per frame, as spent", "mIoU, %")
    return {"miou_by_gflops": write_rgb(picture, folder / "miou_by_gflops.png")}
