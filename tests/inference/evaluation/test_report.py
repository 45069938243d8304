import io
import json
import math
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console

from src.inference.evaluation.comparison import MethodResult
from src.inference.evaluation.report import class_tables, report_tables, write_report
from src.inference.evaluation.scores import EvaluationResult, Scores

CLASSES = ("sky", "road", "tree", "car")


def result(offsets: int = 1) -> EvaluationResult:
    """Sky half right, road right, tree predicted only, no car."""
    scores = Scores(4)
    for offset in range(offsets):
        scores.add_frame(torch.tensor([[0, 0, 2, 2, 1, 1]]), torch.tensor([[0, 0, 0, 0, 1, 1]]), offset, offset)
    scores.end_run()
    return scores.result(offsets)


RESULTS = [MethodResult("per_frame", 1, result()), MethodResult("query", 5, result(5))]


def test_the_folder_has_classes_confusions_and_offsets(tmp_path: Path) -> None:
    files = write_report(RESULTS, CLASSES, tmp_path / "report")
    assert {name: path.name for name, path in files.items()} == {
        "per_class": "per_class.json",
        "confusion_per_frame_k1": "confusion_per_frame_k1.png",
        "confusion_query_k5": "confusion_query_k5.png",
        "miou_by_offset": "miou_by_offset.png",
        "miou_by_position": "miou_by_position.png",
    }
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(path.name for path in files.values())
    lines = {line["class"]: line for line in json.loads(files["per_class"].read_text())}
    assert lines["sky"]["iou"] == {"per_frame_k1": 0.5, "query_k5": 0.5} and lines["road"]["iou"]["query_k5"] == 1
    assert lines["car"]["iou"]["query_k5"] is None and abs(lines["sky"]["label_share"] - 2 / 3) < 1e-12
    for name in ("confusion_query_k5", "miou_by_offset", "miou_by_position"):
        with Image.open(files[name]) as image:
            assert min(image.size) > 200


def test_without_key_frames_there_is_no_curve(tmp_path: Path) -> None:
    predictions = MethodResult("predictions", None, replace(result(), miou_by_offset={}, miou_by_position={}))
    assert list(write_report([predictions], CLASSES, tmp_path)) == ["per_class", "confusion_predictions"]
    assert (predictions.title, predictions.key) == ("predictions", "predictions")


def test_the_table_has_a_line_per_present_class() -> None:
    console = Console(file=io.StringIO(), width=200)
    tables = class_tables(RESULTS * 5, CLASSES)
    for table in tables:
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in shown.splitlines()]
    assert ["sky", "66.67", *["50.0"] * 8] in lines and ["tree", "0.00", *["-"] * 8] in lines
    assert ["mean", "", *["75.0"] * 8] in lines and ["mean", "", "75.0", "75.0"] in lines
    assert len(tables) == 2 and "car" not in shown


def test_flicker_has_a_table_where_clips_were_run() -> None:
    assert len(report_tables(RESULTS, CLASSES)) == len(class_tables(RESULTS, CLASSES))
    flicker = {"flicker_key": 0.0825, "flicker_other": 0.02, "flicker_key_label": math.nan, "flicker_other_label": 0.01}
    known = replace(RESULTS[1], result=replace(RESULTS[1].result, flicker=flicker))
    console = Console(file=io.StringIO(), width=120)
    console.print(report_tables([RESULTS[0], known], CLASSES)[-1])
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "query, k=5" in shown and "8.25" in shown and "per_frame" not in shown
