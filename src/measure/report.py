"""Rows of measured costs and times, and their tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from src.files.tables import Row, console_table, markdown_table, number
from src.measure.cost import FrameCost
from src.measure.latency import Timing
from src.measure.loader import LoaderRate
from src.measure.published import PublishedModel, deviation_percent
from src.structures import Size


def cost_row(cost: FrameCost, key_interval: int, size: Size, published: PublishedModel | None) -> Row:
    """Build the row of a cost: parameters (M), GFLOPs (one multiply-add counts 1), published figures, deviation in percent.

    ``published`` must be of the same networks; figures for another size or interval are left out of the row.
    """
    row: Row = {
        "key_interval": key_interval,
        "params_m": {**cost.params_m, "total": sum(cost.params_m.values())},
        "gflops": {**{name: getattr(cost, name) for name in ("key", "propagate", "post")}, "average": cost.average(key_interval)},
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
    """Build the row of a latency: milliseconds from frame to label map, medians, mean over an interval, and worst call.

    ``timings`` has ``key``, and ``propagate`` unless the interval is 1; ``peaks`` is the peak memory of both, MiB.
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
    """Build the row of a loader: pairs per second, and their ratio to bare decoding."""
    return {
        "pairs_per_s": rate.pairs_per_s,
        "decode_pairs_per_s": rate.decode_pairs_per_s["pillow"],
        "ratio": rate.ratio("pillow"),
        "decode_pairs_per_s_opencv": rate.decode_pairs_per_s["opencv"],
        "ratio_opencv": rate.ratio("opencv"),
    }


def cost_table(row: Row) -> Table:
    """Build the terminal's table of a :func:`cost_row`."""
    params, gflops, k = row["params_m"], row["gflops"], row["key_interval"]
    lines: list[Sequence[str]] = [
        ("key frame: segmentor", number(params["segmentor"], 3), number(gflops["key"], 2)),
        ("non-key frame: flow and warp", number(params["flow"], 3), number(gflops["propagate"], 2)),
        ("every frame: masks to classes", "", number(gflops["post"], 2)),
        (f"average at key interval {k}", number(params["total"], 3), number(gflops["average"], 2)),
    ]
    if row["published"]:
        lines.append(("published", *(number(row["published"].get(name)) for name in ("params_m", "gflops"))))
        lines.append(("deviation", *(_deviation(row["deviation_percent"].get(name)) for name in ("params_m", "gflops"))))
    return console_table(("", "params M", "GFLOPs"), lines)


def latency_table(row: Row) -> Table:
    """Build the terminal's table of a :func:`latency_row`."""
    lines: list[Sequence[str]] = []
    for name, words in (("key", "key frame"), ("propagate", "non-key frame")):
        if row["latency_ms"][name] is not None:
            figures = (row["latency_ms"][name], row["latency_p10_ms"][name], row["latency_p90_ms"][name])
            lines.append((words, *map(number, figures), number(row["peak_memory_mib"][name], 0)))
    mean = f"mean at key interval {row['key_interval']} ({row['fps']:.2f} fps)"
    lines += [(mean, number(row["latency_ms"]["mean"])), ("worst frame", number(row["latency_ms"]["worst"]))]
    return console_table(("", "ms", "p10", "p90", "peak MiB"), lines)


def loader_table(rows: Mapping[str, Row], parts_ms: Mapping[str, float]) -> Table:
    """Build the terminal's table of :func:`loader_row` by transform, with the parts of the first transform's time."""
    lines: list[Sequence[str]] = []
    for name, row in rows.items():
        rate = row["pairs_per_s"]
        lines.append((name, number(rate), number(1e3 / rate, 2), number(row["ratio"], 2), number(row["ratio_opencv"], 2)))
    lines += [(f"  {name}", "", number(milliseconds, 2)) for name, milliseconds in parts_ms.items()]
    first = next(iter(rows.values()))
    for words, key in (("Pillow", "decode_pairs_per_s"), ("OpenCV", "decode_pairs_per_s_opencv")):
        lines.append((f"bare decoding, {words}", number(first[key]), number(1e3 / first[key], 2)))
    return console_table(("", "pairs/s", "ms a pair", "of bare decoding: Pillow", "OpenCV"), lines)


def step_table(ways: Mapping[str, Mapping[str, float]]) -> Table:
    """Build the terminal's table of :func:`src.training.step_times.step_times`: milliseconds of each part of a training step."""
    parts = next(iter(ways.values()))
    return console_table(("ms", *ways), [(part, *(number(times[part]) for times in ways.values())) for part in parts])


def paper_table(rows: Sequence[Row]) -> str:
    """Format rows of :func:`cost_row` with ``experiment`` and ``input_size`` as a Markdown table."""
    columns = ("experiment", "size", "params M", "paper", "dev", "key", "propagate", "post", "GFLOPs", "paper", "dev")
    lines = []
    for row in rows:
        published, deviation = row["published"] or {}, row["deviation_percent"] or {}
        gflops = [number(row["gflops"][name], 2) for name in ("key", "propagate", "post", "average")]
        params = (number(row["params_m"]["total"], 3), number(published.get("params_m")), _deviation(deviation.get("params_m")))
        theirs = (number(published.get("gflops")), _deviation(deviation.get("gflops")))
        lines.append([row["experiment"], row["input_size"], *params, *gflops, *theirs])
    return markdown_table(columns, lines)


def title(row: Row) -> str:
    """Name the measured model and the image size."""
    return f"{row['checkpoint'] or row['experiment']} at {row['input_size']}"


def conditions(row: Row) -> str:
    """Describe the device, threads and precision that a time depends on."""
    return f"{row['device']}, threads: {row['threads']}, {row['precision']}, torch {row['torch']}"


def print_table(console: Console, heading: str, table: Table) -> None:
    """Print a heading and a table; a title of the table would be wrapped at the table's width."""
    if heading:
        console.print(heading, style="bold", highlight=False, soft_wrap=True)
    console.print(table)


def _deviation(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f} %"
