"""Rows of an evaluation, one per method and key interval, and their tables for the terminal."""

import math
from collections.abc import Sequence
from statistics import fmean

from rich.box import SIMPLE_HEAD
from rich.table import Table

from src.files.tables import Row, console_table, number, without_nan
from src.inference.evaluation.scores import EvaluationResult

_SCORES = ("mIoU %", "WIoU %", "mVC8 %", "mVC16 %")


def result_row(
    method: str,
    key_interval: int,
    result: EvaluationResult,
    classes: Sequence[str],
    gflops: float | None,
    scheduler: str = "fixed",
    gflops_measured: float | None = None,
) -> Row:
    """Build the row of a method: scores 0..1, times in milliseconds, ``None`` for unknown values.

    Args:
        method: name of the method.
        key_interval: frames from key frame to key frame; for schedulers other than ``fixed`` the requested ones.
        result: scores and times. Mean times of ``fixed`` are over an interval, those of other schedulers over the frames run.
        classes: K names.
        gflops: GFLOPs per frame, averaged over an interval (one multiply-add counts 1); ``None`` if not counted.
        scheduler: name of the scheduler.
        gflops_measured: GFLOPs per frame of the key and non-key frames of these clips.
    """
    scored = [value for value in result.miou_by_offset.values() if math.isfinite(value)]
    row: Row = {
        "method": method,
        "scheduler": scheduler,
        "key_interval": key_interval,
        **_scores(result),
        **result.flicker,
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
        "miou_by_offset": {str(offset): value for offset, value in result.miou_by_offset.items()},
        "miou_by_offset_mean": fmean(scored) if scored else None,
        "miou_by_offset_min": min(scored, default=None),
        "frames_by_offset": {str(offset): count for offset, count in result.frames_by_offset.items()},
        "miou_by_position": {str(position): value for position, value in result.miou_by_position.items()},
        "frames_by_position": {str(position): count for position, count in result.frames_by_position.items()},
        "runs": result.runs,
        "frames": result.frames,
    }
    return without_nan(row)


def prediction_row(result: EvaluationResult, classes: Sequence[str], clips: int) -> Row:
    """Build the row of prediction files: scores 0..1, ``None`` for unknown values, and the number of scored clips."""
    iou = dict(zip(classes, result.iou_per_class, strict=True))
    return without_nan({**_scores(result), "iou_per_class": iou, "clips": clips, "frames": result.frames})


def prediction_table(row: Row, title: str) -> Table:
    """Build the terminal's table of prediction files: scores in percent, both protocols of video consistency."""
    columns = ("protocol", *_SCORES)
    return console_table(columns, [("official", *_percent(row)), ("strict", *_percent(row["strict"]))], title)


def method_table(rows: Sequence[Row], title: str) -> Table:
    """Build the terminal's table of methods: scores in percent, and columns for the settings that differ from the defaults.

    With other schedulers than ``fixed``, it has the measured GFLOPs. Where it would be wider than 120 characters, scores other
    than mIoU are left to the files.
    """
    scheduled = any(row["scheduler"] != "fixed" for row in rows)
    fused = any(row.get("mode", "online") != "online" or row.get("fuse_keys") for row in rows)
    disoccluded = any(row.get("miou_disoccluded") is not None for row in rows)
    lines = []
    for row in rows:
        gflops, gain = row["gflops_measured"] if scheduled else row["gflops"], row.get("miou_over_fixed")
        cells = {"method": row["method"]}
        if fused:
            cells |= {"mode": row["mode"], "fusion": row["fusion"] or "-", "keys": "fused" if row["fuse_keys"] else "-"}
        cells |= {"scheduler": row["scheduler"]} if scheduled else {}
        cells |= {"k": str(row["key_interval"])} | dict(zip(_SCORES, _percent(row), strict=True))
        if not scheduled:
            cells["border %"] = number(row["miou_border"], 2, 100)
        if disoccluded and not scheduled:
            cells["disocc. %"] = number(row["miou_disoccluded"], 2, 100)
        cells["GFLOPs"] = "-" if gflops is None else f"{gflops:.4g}"
        if scheduled:
            cells |= {"keys %": number(row["key_share"], 1, 100), "over fixed": "-" if gain is None else f"{100 * gain:+.2f}"}
        cells |= {"ms/frame": number(row["ms"]), "ms key": number(row["ms_key"]), "ms non-key": number(row["ms_nonkey"])}
        left_out = () if not fused else _SCORES[1:] if scheduled else _SCORES[2:]
        lines.append({name: cell for name, cell in cells.items() if name not in left_out})
    table = console_table(list(lines[0]), [list(line.values()) for line in lines], title)
    if scheduled or fused:
        # Thirteen columns fit 120 characters only without lines between them; rich would cut names and drop a column.
        table.box, table.padding = SIMPLE_HEAD, (0, 1, 0, 0)
    return table


def _percent(row: Row) -> list[str]:
    return [number(row[name], 2, 100) for name in ("miou", "wiou", "vc8", "vc16")]


def _scores(result: EvaluationResult) -> Row:
    """Collect the scores: the official protocol, and under ``strict`` all figures of the strict one.

    The protocols differ only in video consistency, but a reader of one should find all its figures in one place.
    """
    iou = {"miou": result.miou, "wiou": result.wiou}
    return {
        **iou,
        **{f"vc{window}": value for window, value in result.video_consistency.items()},
        "strict": {**iou, **{f"vc{window}": value for window, value in result.strict_video_consistency.items()}},
        "miou_reference": result.miou_reference,
        "miou_border": result.miou_border,
        "miou_disoccluded": result.miou_disoccluded,
        "temporal_consistency": result.temporal_consistency,
    }
