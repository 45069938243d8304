"""What ``what=speed`` measured, for the screen and as a plot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from src.files.atomic_write import write_rgb
from src.measure import report
from src.measure.speed import FRAMES
from src.visualization.speed_chart import floor_picture

log = logging.getLogger(__name__)

Row = dict[str, Any]


def show(row: Row, console: Console, picture: Path | None = None) -> None:
    """Print all that was measured; where the parts were, draw them beside their floors.

    Args:
        row: of :func:`src.measure.speed.measure_speed`, with its subject and machine.
        console: where the tables go.
        picture: the PNG of the parts; an existing one is replaced, as it goes with the JSON.
    """
    heading = f"{report.title(row)}, batch 1; {report.conditions(row)}, {row['gmacs_per_s']:.1f} GMAC/s in matrix products"
    for table in speed_tables(row):
        report.print_table(console, heading, table)
        heading = ""
    if "equal" in row:
        console.print(equality_sentence(row["equal"]), soft_wrap=True)
    if picture is not None and row.get("parts"):
        write_rgb(floor_picture(row["parts"], report.title(row)), picture)
        log.info("written: %s", picture)


def speed_tables(row: Row) -> list[Table]:
    """A row of :func:`src.measure.speed.measure_speed`: frames, clips, ratios and parts, each where it was measured."""
    tables = []
    if row["frames_ms"]:
        table = _table("one frame", "ms", "p10", "p90", "peak MiB")
        for name, entry in row["frames_ms"].items():
            table.add_row(FRAMES[name], *_spread(entry), f"{row['peak_memory_mib'][name]:.0f}")
        tables.append(table)
    if row["clips_ms"]:
        table = _table("a clip, per frame", "ms", "p10", "p90")
        for interval, entry in row["clips_ms"].items():
            table.add_row(f"key interval {interval}", *_spread(entry))
        tables.append(table)
    if any(value is not None for value in row["ratios"].values()):
        table = _table("times as fast", "")
        for name, value in row["ratios"].items():
            if value is not None:
                table.add_row(name.replace("_", " "), f"{value:.2f}")
        tables.append(table)
    if row.get("parts"):
        table = _table("part", "ms", "floor ms", "times the floor", "GMAC")
        for part in row["parts"]:
            ratio = f"{part['ms'] / part['floor_ms']:.2f}" if part["floor_ms"] else "-"
            table.add_row(part["name"], f"{part['ms']:.1f}", f"{part['floor_ms']:.1f}", ratio, f"{part['gmacs']:.2f}")
        tables.append(table)
    return tables


def equality_sentence(equal: Row) -> str:
    """A row of :func:`src.measure.speed.compare_maps` in words."""
    return (
        f"label map against plain transformers at full size: {equal['different']} of {equal['pixels']} pixels differ, "
        f"{equal['near_ties']} of them by float rounding (scores deviate by {equal['score_deviation']:.1e}), "
        f"{equal['unexcused']} otherwise"
    )


def _spread(entry: dict[str, float]) -> tuple[str, str, str]:
    return f"{entry['median']:.1f}", f"{entry['p10']:.1f}", f"{entry['p90']:.1f}"


def _table(*columns: str) -> Table:
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table
