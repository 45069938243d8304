"""Report of an evaluation: IoU per class, confusion matrices, and mIoU by offset from the key frame."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from src.files.atomic_write import write_rgb, write_text
from src.files.tables import console_table, number, without_nan
from src.inference.evaluation.comparison import MethodResult
from src.visualization.charts import confusion_picture, offset_picture

_COLUMNS = 8
_CURVES = {
    "miou_by_offset": "frames since the key frame",
    "miou_by_position": "position in a complete interval, frames since its key frame",
}


def report_tables(results: Sequence[MethodResult], classes: Sequence[str]) -> list[Table]:
    """Build the terminal's tables of a report: :func:`class_tables`, and flicker where whole clips were run."""
    known = [one for one in results if any(map(math.isfinite, one.result.flicker.values()))]
    columns = ("method", "key frames", "others", "labels at key frames", "labels at others")
    names = ("flicker_key", "flicker_other", "flicker_key_label", "flicker_other_label")
    lines = [(one.title, *(number(one.result.flicker[name], 2, 100) for name in names)) for one in known]
    flicker = [console_table(columns, lines, "Flicker: pixels that change class from the frame before, %")] if known else []
    return [*class_tables(results, classes), *flicker]


def class_tables(results: Sequence[MethodResult], classes: Sequence[str]) -> list[Table]:
    """Build the terminal's tables of IoU in percent, with the classes of labels and predictions; at most eight results each."""
    tables = []
    shares = _label_shares(results[0])
    for first in range(0, len(results), _COLUMNS):
        shown = results[first : first + _COLUMNS]
        columns = ("class", "% of labels", *(one.title.replace(", ", "\n") for one in shown))
        lines = [
            (name, number(shares[k], 2, 100), *(number(one.result.iou_per_class[k], 1, 100) for one in shown))
            for k, name in enumerate(classes)
            if any(one.result.confusion[k].any() or one.result.confusion[:, k].any() for one in shown)
        ]
        table = console_table(columns, lines, "IoU per class, %")
        table.add_section()
        table.add_row("mean", "", *(number(one.result.miou, 1, 100) for one in shown))
        tables.append(table)
    return tables


def write_report(results: Sequence[MethodResult], classes: Sequence[str], folder: str | Path) -> dict[str, Path]:
    """Write ``per_class.json``, ``confusion_<method>_k<k>.png`` and, where they are known, curves over the key interval.

    The curves are ``miou_by_offset.png``, of all frames, and ``miou_by_position.png``, of complete intervals.

    The folder is created if missing; files of the same name are replaced. Returns the files by their names without suffix;
    ``per_class`` is the JSON, the others are pictures.
    """
    folder = Path(folder)
    shares = _label_shares(results[0])
    lines = [
        {"class": name, "label_share": shares[k], "iou": without_nan({one.key: one.result.iou_per_class[k] for one in results})}
        for k, name in enumerate(classes)
    ]
    files = {"per_class": folder / "per_class.json"}
    write_text(files["per_class"], json.dumps(lines, indent=2, allow_nan=False) + "\n")
    for one in results:
        title = f"{one.title}: where the pixels of each class go, %"
        files[f"confusion_{one.key}"] = write_rgb(
            confusion_picture(one.result.confusion, classes, title), folder / f"confusion_{one.key}.png"
        )
    per_frame = next((one.result.miou for one in results if one.key_interval == 1), None)
    for name, axis in _CURVES.items():
        if panels := _panels(results, name):
            files[name] = write_rgb(offset_picture(panels, per_frame, axis), folder / f"{name}.png")
    return files


def _panels(results: Sequence[MethodResult], name: str) -> dict[int, Mapping[str, Mapping[int, float]]]:
    """Collect the curves of methods and fusions by fixed key interval; ``name`` is the field of the result."""
    results = [one for one in results if one.scheduler == "fixed" and getattr(one.result, name)]
    intervals = sorted({one.key_interval for one in results if one.key_interval is not None and one.key_interval > 1})
    return {k: {one.curve: getattr(one.result, name) for one in results if one.key_interval == k} for k in intervals}


def _label_shares(one: MethodResult) -> list[float]:
    """Compute each class's share of the labelled pixels."""
    confusion = one.result.confusion
    # The third column of a single class counts labels of the background.
    pixels = (confusion[:, :2] if len(confusion) == 1 else confusion).sum(1).double()
    shares: list[float] = (pixels / pixels.sum().clamp(min=1)).tolist()
    return shares
