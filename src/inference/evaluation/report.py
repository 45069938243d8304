"""What a table of one line per method cannot show: classes, confusions, and the loss with offset to the key frame."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from src.files.atomic_write import write_rgb, write_text
from src.inference.evaluation.comparison import MethodResult
from src.visualization.charts import confusion_picture, offset_picture

_COLUMNS = 8


def class_tables(results: Sequence[MethodResult], classes: Sequence[str]) -> list[Table]:
    """IoU in percent of every class that a label or a prediction holds, for the screen; at most eight results side by side."""
    tables = []
    for first in range(0, len(results), _COLUMNS):
        shown = results[first : first + _COLUMNS]
        table = Table(title="IoU per class, %")
        table.add_column("class", no_wrap=True)
        table.add_column("% of labels", justify="right", no_wrap=True)
        for one in shown:
            table.add_column(one.title.replace(", ", "\n"), justify="right", no_wrap=True)
        shares = _label_shares(results[0])
        for number, name in enumerate(classes):
            if any(one.result.confusion[number].any() or one.result.confusion[:, number].any() for one in shown):
                values = (_percent(one.result.iou_per_class[number]) for one in shown)
                table.add_row(name, f"{100 * shares[number]:.2f}", *values)
        table.add_section()
        table.add_row("mean", "", *(_percent(one.result.miou) for one in shown))
        tables.append(table)
    return tables


def write_report(results: Sequence[MethodResult], classes: Sequence[str], folder: str | Path) -> dict[str, Path]:
    """Write ``per_class.json``, ``confusion_<method>_k<k>.png`` and, where there are key frames, ``miou_by_offset.png``.

    Args:
        results: of :func:`src.inference.evaluation.comparison.evaluate_methods`, or one of outside predictions.
        classes: K names.
        folder: made if missing; files of the same name are replaced.

    Returns:
        The files, by their names without ending; ``per_class`` is the JSON, the rest are pictures.
    """
    folder = Path(folder)
    shares = _label_shares(results[0])
    lines = [
        {
            "class": name,
            "label_share": shares[number],
            "iou": {one.key: _finite(one.result.iou_per_class[number]) for one in results},
        }
        for number, name in enumerate(classes)
    ]
    files = {"per_class": folder / "per_class.json"}
    write_text(files["per_class"], json.dumps(lines, indent=2, allow_nan=False) + "\n")
    for one in results:
        title = f"{one.title}: where the pixels of each class go, %"
        files[f"confusion_{one.key}"] = write_rgb(
            confusion_picture(one.result.confusion, classes, title), folder / f"confusion_{one.key}.png"
        )
    panels, per_frame = _offset_panels(results)
    if panels:
        files["miou_by_offset"] = write_rgb(offset_picture(panels, per_frame), folder / "miou_by_offset.png")
    return files


def _offset_panels(results: Sequence[MethodResult]) -> tuple[dict[int, Mapping[str, Mapping[int, float]]], float | None]:
    """Curves of the methods at fixed key intervals, and the score without propagation."""
    per_frame = next((one.result.miou for one in results if one.key_interval == 1), None)
    results = [one for one in results if one.scheduler == "fixed"]
    intervals = sorted({one.key_interval for one in results if one.key_interval is not None and one.key_interval > 1})
    panels = {
        k: {one.method: one.result.miou_by_offset for one in results if one.key_interval == k and one.result.miou_by_offset}
        for k in intervals
    }
    return {k: curves for k, curves in panels.items() if curves}, per_frame


def _label_shares(one: MethodResult) -> list[float]:
    """Share of the labelled pixels that each class has."""
    pixels = one.result.confusion.sum(1).double()
    shares: list[float] = (pixels / pixels.sum().clamp(min=1)).tolist()
    return shares


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "-"
