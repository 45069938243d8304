"""The table of an evaluation: one row per method and key interval, as JSON, as CSV and on the screen."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from src.files.atomic_write import write_text
from src.inference.evaluation.scores import EvaluationResult

Row = dict[str, Any]


def result_row(
    method: str,
    key_interval: int,
    result: EvaluationResult,
    classes: Sequence[str],
    gflops: float | None,
    scheduler: str = "fixed",
    gflops_measured: float | None = None,
) -> Row:
    """One row; scores 0..1, times in milliseconds, ``None`` where there is no number.

    Args:
        method: its name.
        key_interval: frames from key frame to key frame.
        result: what was measured.
        classes: K names.
        gflops: per frame, averaged over an interval (reference counting rule: one multiply-add is 1), or ``None`` if not counted.
        scheduler: its name; for others than ``fixed``, ``key_interval`` is what was asked for, and times are means over the
            frames that were run.
        gflops_measured: per frame, of the key and non-key frames that there were in these clips.
    """
    offsets = result.miou_by_offset
    known = [value for value in offsets.values() if math.isfinite(value)]
    row: Row = {
        "method": method,
        "scheduler": scheduler,
        "key_interval": key_interval,
        **_scores(result),
        "gflops": gflops,
        "gflops_measured": gflops_measured,
        "key_share": result.key_share,
        "ms": result.mean_ms(key_interval if scheduler == "fixed" else None),
        "ms_key": result.key_times.median,
        "ms_nonkey": result.nonkey_times.median,
        "ms_key_mean": result.key_times.mean,
        "ms_nonkey_mean": result.nonkey_times.mean,
        "ms_worst": max(result.key_times.worst, result.nonkey_times.worst if result.nonkey_times.frames else 0.0),
        "iou_per_class": dict(zip(classes, result.iou_per_class, strict=True)),
        "miou_by_offset": {str(offset): value for offset, value in offsets.items()},
        "miou_by_offset_mean": fmean(known) if known else None,
        "miou_by_offset_min": min(known, default=None),
        "frames_by_offset": {str(offset): count for offset, count in result.frames_by_offset.items()},
        "runs": result.runs,
        "frames": result.frames,
    }
    return _without_nan(row)


def prediction_row(result: EvaluationResult, classes: Sequence[str], clips: int) -> Row:
    """What is known of outside predictions; scores 0..1, ``None`` where there is no number.

    Args:
        result: of :func:`src.inference.evaluation.prediction_files.evaluate_predictions`.
        classes: K names.
        clips: how many were scored.
    """
    return _without_nan(
        {
            **_scores(result),
            "iou_per_class": dict(zip(classes, result.iou_per_class, strict=True)),
            "clips": clips,
            "frames": result.frames,
        }
    )


def prediction_table(row: Row, title: str) -> Table:
    """A row of :func:`prediction_row` for the screen: scores in percent, both protocols of video consistency."""
    table = Table(title=title)
    for name in ("protocol", "mIoU %", "WIoU %", "mVC8 %", "mVC16 %"):
        table.add_column(name, justify="left" if name == "protocol" else "right", no_wrap=True)
    for protocol, figures in (("official", row), ("strict", row["strict"])):
        table.add_row(protocol, *(_number(figures[name], 100, 2) for name in ("miou", "wiou", "vc8", "vc16")))
    return table


def rich_table(rows: Sequence[Row], title: str) -> Table:
    """The rows for the screen: scores in percent, as papers print them."""
    columns = ["method", "k", "mIoU %", "WIoU %", "mVC8 %", "mVC16 %", "GFLOPs", "ms/frame", "ms key", "ms non-key"]
    scheduled = any(row["scheduler"] != "fixed" for row in rows)
    if scheduled:
        columns = ["method", "scheduler", *columns[1:7], "keys %", "over fixed", *columns[7:]]
    # Thirteen columns fit 120 characters without lines between them; narrower, rich would cut names and drop a column.
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0)) if scheduled else Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        percent = [_number(row[name], 100, 2) for name in ("miou", "wiou", "vc8", "vc16")]
        shown = row["gflops_measured"] if scheduled else row["gflops"]
        gflops = "-" if shown is None else f"{shown:.4g}"
        name = [str(row["method"]), *([row["scheduler"]] if scheduled else []), str(row["key_interval"])]
        if scheduled:
            gain = row.get("miou_over_fixed")
            percent += [gflops, _number(row["key_share"], 100, 1), "-" if gain is None else f"{100 * gain:+.2f}"]
        else:
            percent.append(gflops)
        table.add_row(*name, *percent, *(_number(row[name], 1, 1) for name in ("ms", "ms_key", "ms_nonkey")))
    return table


def check_output(path: str | Path, overwrite: bool) -> Path:
    """The JSON file that a table goes to, checked before the work is done.

    Raises:
        ValueError: if the name does not end in ``.json``.
        FileExistsError: if it, or the CSV beside it, exists and may not be replaced.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"output {path}: expected a name that ends in .json (the CSV goes beside it)")
    taken = [str(file) for file in (path, path.with_suffix(".csv")) if file.exists()]
    if taken and not overwrite:
        raise FileExistsError(f"{' and '.join(taken)} exist already: name another output or set overwrite=true")
    return path


def new_path(name: str | None, overwrite: bool) -> Path | None:
    """A file or folder to write, checked before the work is done; ``None`` where none is asked for.

    Raises:
        FileExistsError: if it exists, may not be replaced, and is no empty folder.
    """
    if name is None:
        return None
    path = Path(name)
    if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} exists already: name another one or set overwrite=true")
    return path


def write_table(rows: Sequence[Row] | Row, path: str | Path) -> tuple[Path, Path]:
    """Write ``<name>.json`` (a list of rows) and ``<name>.csv`` (nested values flattened), each complete or not at all.

    Args:
        rows: of :func:`result_row`; a single row instead of a list becomes an object in the JSON.
        path: of the JSON file.

    Returns:
        Both paths.
    """
    path = Path(path)
    flat = [_flat(row) for row in ([rows] if isinstance(rows, dict) else rows)]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_text(path.with_suffix(".csv"), text.getvalue())
    write_text(path, json.dumps(rows, indent=2, allow_nan=False) + "\n")
    return path, path.with_suffix(".csv")


def _scores(result: EvaluationResult) -> Row:
    """The figures that are not of keys and times; protocol official, and under ``strict`` the strict one.

    The protocols differ in video consistency alone, but a reader of one should find all its figures in one place.
    """
    return {
        "miou": result.miou,
        "wiou": result.wiou,
        **{f"vc{window}": value for window, value in result.video_consistency.items()},
        "strict": {
            "miou": result.miou,
            "wiou": result.wiou,
            **{f"vc{window}": value for window, value in result.strict_video_consistency.items()},
        },
        "miou_reference": result.miou_reference,
        "temporal_consistency": result.temporal_consistency,
    }


def _flat(row: Row) -> Row:
    flat: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name}/{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _without_nan(row: Row) -> Row:
    def cleaned(value: object) -> object:
        if isinstance(value, dict):
            return _without_nan(value)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: cleaned(value) for name, value in row.items()}


def _number(value: float | None, factor: float, digits: int) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"
