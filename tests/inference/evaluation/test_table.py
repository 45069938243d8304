import csv
import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from src.files.tables import write_table
from src.inference.evaluation.fusing import PLAIN
from src.inference.evaluation.scores import EvaluationResult, StepTimes
from src.inference.evaluation.table import method_table, prediction_row, prediction_table, result_row

NAN = float("nan")
RESULT = EvaluationResult(
    miou=0.5, miou_reference=0.375, wiou=0.625, video_consistency={8: 0.75, 16: NAN},
    strict_video_consistency={8: 0.5, 16: NAN}, temporal_consistency=NAN, iou_per_class=(0.25, NAN),
    miou_by_offset={0: 0.5, 1: 0.25}, frames_by_offset={0: 4, 1: 16},
    miou_by_position={0: 0.75, 1: NAN}, frames_by_position={0: 3, 1: 2}, miou_border=0.25, miou_disoccluded=NAN,
    flicker={"flicker_other": 0.02, "flicker_key": 0.08, "flicker_other_label": 0.01, "flicker_key_label": NAN},
    confusion=torch.eye(2, dtype=torch.int64),
    key_times=StepTimes(100.0, 110.0, 150.0, 4), nonkey_times=StepTimes(20.0, 25.0, 30.0, 16),
    frames_by_kind={PLAIN.kinds[0]: 4, PLAIN.kinds[1]: 16}, runs=5, frames=20,
)  # fmt: skip
ROW = result_row("query", 5, RESULT, ("sky", "road"), 12.5)


def test_a_row_contains_the_measured_values() -> None:
    assert (ROW["method"], ROW["key_interval"], ROW["miou"], ROW["wiou"], ROW["vc8"]) == ("query", 5, 0.5, 0.625, 0.75)
    assert (ROW["ms"], ROW["ms_key"], ROW["ms_nonkey"], ROW["ms_worst"]) == ((100 + 4 * 20) / 5, 100.0, 20.0, 150.0)
    assert ROW["vc16"] is None and ROW["iou_per_class"] == {"sky": 0.25, "road": None}
    assert ROW["miou_by_offset"] == {"0": 0.5, "1": 0.25} and ROW["gflops"] == 12.5
    assert (ROW["miou_by_offset_mean"], ROW["miou_by_offset_min"]) == (0.375, 0.25)
    assert ROW["frames_by_offset"] == {"0": 4, "1": 16}
    assert ROW["miou_by_position"] == {"0": 0.75, "1": None} and ROW["frames_by_position"] == {"0": 3, "1": 2}
    assert (ROW["miou_border"], ROW["miou_disoccluded"]) == (0.25, None)
    assert ROW["strict"] == {"miou": 0.5, "wiou": 0.625, "vc8": 0.5, "vc16": None}
    assert (ROW["scheduler"], ROW["key_share"]) == ("fixed", 0.2)
    # Of another scheduler the interval is only what was asked for.
    other = result_row("query", 3, RESULT, ("sky", "road"), 12.5, "adaptive", 12.5)
    assert (other["ms"], other["gflops_measured"]) == (pytest.approx(0.2 * 100 + 0.8 * 20), 12.5)
    assert (ROW["flicker_key"], ROW["flicker_other"], ROW["flicker_key_label"]) == (0.08, 0.02, None)
    assert ROW["miou_reference"] == 0.375 and ROW["temporal_consistency"] is None


def test_json_and_csv_hold_the_same_rows(tmp_path: Path) -> None:
    rows = [ROW, result_row("per_frame", 1, RESULT, ("sky", "road"), None)]
    json_path, csv_path = write_table(rows, tmp_path / "deep" / "table.json")
    assert json.loads(json_path.read_text()) == rows
    read = list(csv.DictReader(csv_path.open()))
    assert [line["method"] for line in read] == ["query", "per_frame"]
    assert float(read[0]["iou_per_class/sky"]) == 0.25 and read[0]["iou_per_class/road"] == "" and read[1]["gflops"] == ""
    assert float(read[0]["miou_by_offset/1"]) == 0.25
    assert sorted(path.name for path in json_path.parent.iterdir()) == ["table.csv", "table.json"]


def test_a_single_row_is_an_object(tmp_path: Path) -> None:
    row = prediction_row(RESULT, ("sky", "road"), clips=3)
    json_path, csv_path = write_table(row, tmp_path / "scores.json")
    read = json.loads(json_path.read_text())
    assert read == row and (read["miou"], read["vc8"], read["vc16"], read["strict"]["vc8"]) == (0.5, 0.75, None, 0.5)
    (line,) = csv.DictReader(csv_path.open())
    assert float(line["strict/vc8"]) == 0.5 and (line["clips"], line["frames"]) == ("3", "20")
    console = Console(file=io.StringIO(), width=100)
    console.print(prediction_table(row, "scores"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    cells = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in shown.splitlines()]
    assert ["official", "50.00", "62.50", "75.00", "-"] in cells and ["strict", "50.00", "62.50", "50.00", "-"] in cells


def test_the_table_shows_percent() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(method_table([ROW], "camvid"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    line = next(line for line in shown.splitlines() if "query" in line)
    assert [cell.strip() for cell in line.strip("│┃ ").split("│")] == [
        "query", "5", "50.00", "62.50", "75.00", "-", "25.00", "12.5", "36.0", "100.0", "20.0",
    ]  # fmt: skip


def test_the_scheduler_table_fits_the_width_of_a_log() -> None:
    console = Console(file=io.StringIO(), width=120)
    row = {
        **ROW,
        "method": "per_frame",
        "scheduler": "adaptive",
        "gflops_measured": 0.123456,
        "key_share": 1,
        "miou_over_fixed": 0.1,
    }
    console.print(method_table([{**row, "ms": 12345.6, "ms_key": 12345.6, "ms_nonkey": 12345.6}], "camvid"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown and all(word in shown for word in ("per_frame", "adaptive", " k ", "0.1235", "+10.00", "12345.6"))


def test_fusions_have_columns_and_fit_the_width_of_a_log() -> None:
    console = Console(file=io.StringIO(), width=120)
    row = {**ROW, "mode": "offline", "fusion": "photometric", "fuse_keys": True, "miou_disoccluded": 0.5}
    plain = {**ROW, "method": "correlation", "mode": "online", "fusion": None, "fuse_keys": False}
    console.print(method_table([row, {**plain, "ms": 12345.6, "ms_key": 12345.6, "ms_nonkey": 12345.6}], "camvid"))
    lines = [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert [
        "query",
        "offline",
        "photometric",
        "fused",
        "5",
        "50.00",
        "62.50",
        "25.00",
        "50.00",
        "12.5",
        "36.0",
        "100.0",
        "20.0",
    ] in lines
    assert next(line for line in lines if line[:1] == ["correlation"])[1:5] == ["online", "-", "-", "5"]
    both = Console(file=io.StringIO(), width=120)
    both.print(method_table([{**row, "scheduler": "adaptive", "miou_over_fixed": 0.1}], "camvid"))
    shown = both.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown and all(word in shown for word in ("adaptive", "photometric", "+10.00", "ms non-key"))
