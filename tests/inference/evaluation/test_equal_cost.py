from pathlib import Path

import pytest

from src.inference.evaluation.equal_cost import curves, over_fixed, write_curves
from src.inference.evaluation.fusing import PLAIN, Fusing


def row(
    scheduler: str, interval: int, gflops: float, miou: float, method: str = "dis", fusing: Fusing = PLAIN
) -> dict[str, object]:
    settings = {"method": method, "scheduler": scheduler, "key_interval": interval, **fusing.columns}
    return {**settings, "gflops_measured": gflops, "miou": miou}


ROWS = [
    row("fixed", 1, 10.0, 0.9, "per_frame"), row("fixed", 2, 6.0, 0.8), row("fixed", 5, 2.0, 0.6), row("adaptive", 3, 4.0, 0.75),
    row("adaptive", 2, 8.0, 0.84), row("adaptive", 9, 1.0, 0.7), row("adaptive", 3, 4.0, 0.75, "copy"),
]  # fmt: skip


def test_gains_are_over_the_straight_line_between_fixed_intervals() -> None:
    gains = over_fixed(ROWS)
    # Halfway between 5 and 2, and between 2 and every frame; cheaper than all fixed ones; no fixed rows of that method.
    assert gains[:3] == [None] * 3 and gains[3:5] == [pytest.approx(0.05), pytest.approx(-0.01)] and gains[5:] == [None, None]


def test_curves_are_sorted_by_cost_and_share_the_row_of_interval_one() -> None:
    found = curves(ROWS)
    assert found["dis, fixed"] == [(2.0, 0.6), (6.0, 0.8), (10.0, 0.9)]
    assert found["dis, adaptive"] == [(1.0, 0.7), (4.0, 0.75), (8.0, 0.84)] and list(found)[-1] == "copy, adaptive"


def test_every_fusion_has_its_own_curve() -> None:
    both = Fusing("offline", "linear", True)
    rows = [*ROWS, row("fixed", 5, 3.0, 0.9, fusing=both), row("fixed", 1, 11.0, 0.95, fusing=both)]
    found = curves(rows)
    assert found["dis, offline, linear, fused keys, fixed"] == [(3.0, 0.9), (10.0, 0.9), (11.0, 0.95)]
    assert found["dis, fixed"] == curves(ROWS)["dis, fixed"] and over_fixed(rows)[: len(ROWS)] == over_fixed(ROWS)


def test_curves_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    assert write_curves(ROWS[:1], tmp_path) == {} and not any(tmp_path.iterdir())
    files = write_curves(ROWS, tmp_path)
    assert list(files) == ["miou_by_gflops"] and list(tmp_path.iterdir()) == list(files.values())
