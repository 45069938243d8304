"""Measured figures as rows to write and as tables for the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from src.measure.cost import FrameCost
from src.measure.latency import Timing
from src.measure.loader import LoaderRate
from src.measure.published import PublishedModel, deviation_percent
from src.structures import Size

Row = dict[str, Any]


def cost_row(cost: FrameCost, key_interval: int, size: Size, published: PublishedModel | None) -> Row:
    """Parameters (M) and GFLOPs (a multiply-add is 1), with the published ones and the deviation in percent.

    Args:
        cost: what was counted.
        key_interval: of the average.
        size: (H, W) that it was counted for.
        published: left out of the row where it was measured at another size or interval.
    """
    row: Row = {
        "key_interval": key_interval,
        "params_m": {**cost.params_m, "total": sum(cost.params_m.values())},
        "gflops": {
            "key": cost.key,
            "propagate": cost.propagate,
            "post": cost.post,
            "average": cost.average(key_interval),
        },
        "published": None,
        "deviation_percent": None,
    }
    if published is not None and (published.size, published.key_interval) == (size, key_interval):
        ours = {"params_m": row["params_m"]["total"], "gflops": row["gflops"]["average"]}
        theirs = {name: published.mpvss[name] for name in (*ours, "fps") if name in published.mpvss}
        row["published"] = theirs
        row["deviation_percent"] = {name: deviation_percent(ours[name], theirs[name]) for name in ours if name in theirs}
    return row


def latency_row(timings: Mapping[str, Timing], peaks: Mapping[str, float], key_interval: int) -> Row:
    """Milliseconds from frame to label map: medians of ``key`` and ``propagate``, their mean over an interval, the worst call.

    Args:
        timings: of ``key``, and of ``propagate`` unless the interval is 1.
        peaks: MiB, by the same names.
        key_interval: of the mean.
    """
    key = timings["key"].median_ms
    propagate = timings["propagate"].median_ms if "propagate" in timings else None
    mean = key if propagate is None else (key + (key_interval - 1) * propagate) / key_interval
    worst = max(timing.worst_ms for timing in timings.values())
    return {
        "key_interval": key_interval,
        "latency_ms": {"key": key, "propagate": propagate, "worst": worst, "mean": mean},
        "latency_p10_ms": {name: timing.p10 for name, timing in timings.items()},
        "latency_p90_ms": {name: timing.p90 for name, timing in timings.items()},
        "fps": 1e3 / mean,
        "peak_memory_mib": dict(peaks),
    }


def loader_row(rate: LoaderRate) -> Row:
    """Pairs per second and what is left of bare decoding."""
    return {
        "pairs_per_s": rate.pairs_per_s,
        "decode_pairs_per_s": rate.decode_pairs_per_s["pillow"],
        "ratio": rate.ratio("pillow"),
        "decode_pairs_per_s_opencv": rate.decode_pairs_per_s["opencv"],
        "ratio_opencv": rate.ratio("opencv"),
    }


def cost_table(row: Row) -> Table:
    """A row of :func:`cost_row` for the screen."""
    table = _table("", "params M", "GFLOPs")
    params, gflops, k = row["params_m"], row["gflops"], row["key_interval"]
    table.add_row("key frame: segmentor", f"{params['segmentor']:.3f}", f"{gflops['key']:.2f}")
    table.add_row("non-key frame: flow and warp", f"{params['flow']:.3f}", f"{gflops['propagate']:.2f}")
    table.add_row("every frame: masks to classes", "", f"{gflops['post']:.2f}")
    table.add_row(f"average at key interval {k}", f"{params['total']:.3f}", f"{gflops['average']:.2f}", style="bold")
    if row["published"]:
        table.add_row("published", *(_number(row["published"].get(name), ".1f") for name in ("params_m", "gflops")))
        table.add_row("deviation", *(_percent(row["deviation_percent"].get(name)) for name in ("params_m", "gflops")))
    return table


def latency_table(row: Row) -> Table:
    """A row of :func:`latency_row` for the screen."""
    table = _table("", "ms", "p10", "p90", "peak MiB")
    for name, words in (("key", "key frame"), ("propagate", "non-key frame")):
        if row["latency_ms"][name] is not None:
            figures = (row["latency_ms"][name], row["latency_p10_ms"][name], row["latency_p90_ms"][name])
            table.add_row(words, *(f"{value:.1f}" for value in figures), f"{row['peak_memory_mib'][name]:.0f}")
    mean = f"mean at key interval {row['key_interval']} ({row['fps']:.2f} fps)"
    table.add_row(mean, f"{row['latency_ms']['mean']:.1f}", "", "", "", style="bold")
    table.add_row("worst frame", f"{row['latency_ms']['worst']:.1f}", "", "", "")
    return table


def loader_table(rows: Mapping[str, Row], parts_ms: Mapping[str, float]) -> Table:
    """Rows of :func:`loader_row` by the names of their transforms, then where the time of the first one goes."""
    table = _table("", "pairs/s", "ms a pair", "of bare decoding: Pillow", "OpenCV")
    for name, row in rows.items():
        rate = row["pairs_per_s"]
        table.add_row(name, f"{rate:.1f}", f"{1e3 / rate:.2f}", f"{row['ratio']:.2f}", f"{row['ratio_opencv']:.2f}", style="bold")
    for name, milliseconds in parts_ms.items():
        table.add_row(f"  {name}", "", f"{milliseconds:.2f}", "", "")
    first = next(iter(rows.values()))
    for words, key in (("Pillow", "decode_pairs_per_s"), ("OpenCV", "decode_pairs_per_s_opencv")):
        table.add_row(f"bare decoding, {words}", f"{first[key]:.1f}", f"{1e3 / first[key]:.2f}", "", "")
    return table


def step_table(ways: Mapping[str, Mapping[str, float]]) -> Table:
    """Milliseconds of a training step's parts, one column for each way of :func:`src.training.step_times.step_times`."""
    table = _table("ms", *ways)
    for part in next(iter(ways.values())):
        table.add_row(part, *(f"{parts[part]:.1f}" for parts in ways.values()), style="bold" if part == "step" else "")
    return table


def paper_table(rows: Sequence[Row]) -> Table:
    """Rows of :func:`cost_row` with their ``experiment`` and ``input_size``, one a line; as Markdown, to be copied."""
    table = _table("experiment", "size", "params M", "paper", "dev", "key", "propagate", "post", "GFLOPs", "paper", "dev")
    table.box = box.MARKDOWN
    for row in rows:
        published, deviation = row["published"] or {}, row["deviation_percent"] or {}
        gflops = (f"{row['gflops'][name]:.2f}" for name in ("key", "propagate", "post", "average"))
        columns = [
            f"{row['params_m']['total']:.3f}",
            _number(published.get("params_m"), ".1f"),
            _percent(deviation.get("params_m")),
        ]
        columns += [*gflops, _number(published.get("gflops"), ".1f"), _percent(deviation.get("gflops"))]
        table.add_row(row["experiment"], row["input_size"], *columns)
    return table


def title(row: Row) -> str:
    """What was measured, at what size."""
    return f"{row['checkpoint'] or row['experiment']} at {row['input_size']}"


def conditions(row: Row) -> str:
    """What a time depends on besides the code, in words."""
    return f"{row['device']}, threads: {row['threads']}, {row['precision']}, torch {row['torch']}"


def print_table(console: Console, heading: str, table: Table) -> None:
    """A line and a table below it; not as the table's title, which would be broken into the table's width."""
    if heading:
        console.print(heading, style="bold", highlight=False, soft_wrap=True)
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f} %"
