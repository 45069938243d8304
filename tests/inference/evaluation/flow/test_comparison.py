import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from src.files.tables import Row, write_table
from src.inference.evaluation.flow.comparison import FlowComparison
from src.inference.evaluation.flow.method import FlowMethod
from src.inference.evaluation.flow.table import draw_offsets, flow_table
from src.models.flow import CopyFlow
from tests.inference.known_flow import ConstantFlow
from tests.inference.tiny import CLASSES, FakeClips

COST = {"gflops": 1.5, "params_m": 0.25, "ms": 3.0}
METHODS = {"copy": FlowMethod(CopyFlow()), "true": FlowMethod(ConstantFlow(-2.0))}
COSTS = {"copy": COST | {"gflops": 0.0}, "true": COST, "counted": COST | {"ms": None}}


def printed(rows: list[Row]) -> str:
    conditions = {"data": "scenes", "cost_size": "4x6", "device": "cpu", "threads": 1, "precision": "float32"}
    console = Console(width=200, file=StringIO())
    console.print(flow_table([row | conditions for row in rows]))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "scenes; cost at 4x6, cpu, 1 threads, float32" in text
    return text


def test_label_propagation_has_a_row_for_each_method_and_offset(tmp_path: Path) -> None:
    found = FlowComparison("label_propagation", FakeClips((5,)), [1, 3]).rows(METHODS, COSTS)
    rows = [row for rows in found for row in rows]
    assert [(row["method"], row["offset"]) for row in rows] == [
        (name, offset) for name in ("copy", "true", "counted") for offset in (1, 3)
    ]
    copied, true, counted = rows[0], rows[2], rows[4]
    assert copied["miou"] < true["miou"] <= 1 and (counted["miou"], counted["pairs"]) == (None, 0)
    assert (true["gflops"], true["params_m"], true["ms"], true["pairs"]) == (1.5, 0.25, 3.0, 4)
    assert list(true["iou_per_class"]) == list(CLASSES)
    # As JSON and CSV it must be writable, whatever is not known.
    write_table(rows, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == rows
    assert [line["miou"] for line in csv.DictReader((tmp_path / "t.csv").open())][4:] == ["", ""]
    text = printed(rows)
    assert "offset 3" in text and f"{100 * true['miou']:.1f}" in text and "1.50" in text
    assert [path.name for path in draw_offsets(rows, tmp_path / "charts")] == ["miou_by_offset.png", "miou_by_cost.png"]
    assert draw_offsets(rows[4:], tmp_path / "none") == []


def test_endpoint_errors_have_a_row_for_each_method() -> None:
    found = FlowComparison("endpoint_error", FakeClips((3, 3)), []).rows(METHODS, COSTS)
    rows = [row for rows in found for row in rows]
    copied, true, counted = rows
    # The data knows both directions, and a constant flow is right in one of them.
    assert copied["epe"] == pytest.approx(2.0) == true["epe"] and counted["epe"] is None
    assert copied["epe_per_clip"] == {"clip0": pytest.approx(2.0), "clip1": pytest.approx(2.0)}
    assert copied["pairs"] == 8 and copied["outlier_rate"] == 0 and true["outlier_rate"] == 0.5
    text = printed(rows)
    assert "clip1" in text and "2.00" in text


def test_tasks_without_data_are_refused_at_construction() -> None:
    with pytest.raises(ValueError, match="no two labelled frames of a clip are 7 frames apart"):
        FlowComparison("label_propagation", FakeClips((5,)), [7])
    with pytest.raises(ValueError, match="unknown task 'flow'"):
        FlowComparison("flow", FakeClips((5,)), [1])  # type: ignore[arg-type]
