"""Laws of flow tables: clips count equally, unscored methods have no score, and the terminal shows every method once."""

import pytest
from rich.console import Console

from src.inference.evaluation.flow.endpoint_errors import ClipError
from src.inference.evaluation.flow.label_propagation import OffsetScore
from src.inference.evaluation.flow.table import error_row, flow_table, offset_rows

COST = {"gflops": 1.5, "params_m": 0.25, "ms": None}
CONDITIONS = {"data": "d", "cost_size": "4x6", "device": "cpu", "threads": 1, "precision": "float32"}


def lines(rows: list[dict[str, object]]) -> list[list[str]]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(flow_table([row | CONDITIONS for row in rows]))
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in capture.get().splitlines()]


def test_clips_count_equally_whatever_their_pairs() -> None:
    row = error_row("a", [ClipError("x", 1.0, 0.0, 1), ClipError("y", 3.0, 0.5, 9)], COST)
    assert (row["epe"], row["outlier_rate"], row["pairs"]) == (pytest.approx(2.0), pytest.approx(0.25), 10)
    shown = lines([row, error_row("counted", None, COST)])
    assert ["a", "1.00", "3.00", "2.00", "25.0", "1.50", "0.25", "-"] in shown
    assert ["counted", "-", "-", "-", "-", "1.50", "0.25", "-"] in shown


def test_offsets_are_columns_and_absent_classes_are_null() -> None:
    scores = [OffsetScore(offset, 0.9 - offset / 10, 0.5, (0.5, float("nan")), 4) for offset in (1, 3)]
    rows = offset_rows("a", [1, 3], scores, COST, ("sky", "road"))
    assert rows[0]["iou_per_class"] == {"sky": 0.5, "road": None}
    counted = offset_rows("counted", [1, 3], None, COST, ("sky", "road"))
    shown = lines([*rows, *counted])
    assert ["a", "80.0", "60.0", "1.50", "0.25", "-"] in shown and ["counted", "-", "-", "1.50", "0.25", "-"] in shown
