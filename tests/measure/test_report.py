"""Laws of rows and tables: averages follow the interval, and every figure reaches the screen."""

from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from src.measure.cost import FrameCost
from src.measure.latency import Timing
from src.measure.loader import LoaderRate
from src.measure.published import published_models
from src.measure.report import cost_row, cost_table, latency_row, latency_table, loader_row, loader_table, paper_table

COST = FrameCost(key=100.0, propagate=10.0, post=5.0, params_m={"segmentor": 44.0, "flow": 40.0})
PUBLISHED = published_models()["vspw_r50"]


def printed(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_cost_row_compares_equal_size_and_interval() -> None:
    row = cost_row(COST, 5, (480, 853), PUBLISHED)
    assert row["gflops"] == {"key": 100.0, "propagate": 10.0, "post": 5.0, "average": 33.0}
    assert row["params_m"] == {"segmentor": 44.0, "flow": 40.0, "total": 84.0}
    assert row["deviation_percent"]["gflops"] == pytest.approx(100 * (33 / 38.9 - 1))
    for other in (
        cost_row(COST, 4, (480, 853), PUBLISHED),
        cost_row(COST, 5, (480, 854), PUBLISHED),
        cost_row(COST, 5, (1, 1), None),
    ):
        assert other["published"] is None and other["deviation_percent"] is None
    text = printed(cost_table(row))
    assert all(number in text for number in ("44.000", "100.00", "33.00", "38.9", "-15.17 %", "-0.12 %"))


def test_an_unpublished_figure_is_a_dash() -> None:
    row = cost_row(COST, 5, (1024, 2048), published_models()["cityscapes_r50"])
    assert set(row["deviation_percent"]) == {"gflops"}
    line = paper_table([{**row, "experiment": "x", "input_size": "1x1"}]).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")][1:6] == ["x", "1x1", "84.000", "-", "-"]
    # GitHub takes it as it is.
    assert line.startswith("|") and line.rstrip().endswith("|")


def test_the_latency_row_averages_over_an_interval() -> None:
    key = Timing(median_ms=100.0, p10=90.0, p90=120.0, worst_ms=150.0)
    timings = {"key": key, "propagate": replace(key, median_ms=20.0, worst_ms=170.0)}
    row = latency_row(timings, {"key": 900.0, "propagate": 800.0}, 5)
    assert row["latency_ms"] == {"key": 100.0, "propagate": 20.0, "worst": 170.0, "mean": 36.0}
    assert "36.0" in printed(latency_table(row)) and "(27.78 fps)" in printed(latency_table(row))
    alone = latency_row({"key": key}, {"key": 900.0}, 1)
    assert alone["latency_ms"] == {"key": 100.0, "propagate": None, "worst": 150.0, "mean": 100.0}
    assert "non-key" not in printed(latency_table(alone))


def test_the_loader_table_shows_rates_and_parts() -> None:
    rate = LoaderRate(pairs_per_s=50.0, decode_pairs_per_s={"pillow": 200.0, "opencv": 400.0}, parts_ms={"read images": 7.0})
    row = loader_row(rate)
    assert (row["ratio"], row["ratio_opencv"]) == (0.25, 0.125)
    text = printed(loader_table({"loader": row}, rate.parts_ms))
    assert all(number in text for number in ("50.0", "0.25", "0.12", "read images", "7.00", "400.0"))
