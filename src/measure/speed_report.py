"""Tables and chart of the speed benchmark (``what=speed``)."""

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from src.files.atomic_write import write_rgb
from src.files.tables import Row, console_table, number
from src.measure import report
from src.measure.speed import FRAMES
from src.visualization.cost_charts import roofline_picture

log = logging.getLogger(__name__)


def show(row: Row, console: Console, picture: Path | None = None) -> None:
    """Print all measured figures, and draw the parts of a frame beside their roofline times.

    Args:
        row: row of :func:`src.measure.speed.measure_speed`, with its subject and machine.
        console: console of the tables.
        picture: PNG of the parts; an existing file is replaced, as it belongs to the JSON.
    """
    heading = f"{report.title(row)}, batch 1; {report.conditions(row)}, {row['gmacs_per_s']:.1f} GMAC/s in matrix products"
    for table in speed_tables(row):
        report.print_table(console, heading, table)
        heading = ""
    if "equal" in row:
        console.print(equality_sentence(row["equal"]), soft_wrap=True)
    if picture is not None and row.get("parts"):
        write_rgb(roofline_picture(row["parts"], report.title(row)), picture)
        log.info("written: %s", picture)


def speed_tables(row: Row) -> list[Table]:
    """Build the tables of a row of :func:`src.measure.speed.measure_speed`: frames, clips, ratios and parts, where measured."""
    frames = [
        (FRAMES[name], *_spread(entry), number(row["peak_memory_mib"][name], 0)) for name, entry in row["frames_ms"].items()
    ]
    clips = [(f"key interval {interval}", *_spread(entry)) for interval, entry in row["clips_ms"].items()]
    ratios = [(name.replace("_", " "), number(value, 2)) for name, value in row["ratios"].items() if value is not None]
    parts = []
    for part in row.get("parts", ()):
        ratio = part["ms"] / part["roofline_ms"] if part["roofline_ms"] else None
        parts.append((part["name"], number(part["ms"]), number(part["roofline_ms"]), number(ratio, 2), number(part["gmacs"], 2)))
    tables: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = [
        (("one frame", "ms", "p10", "p90", "peak MiB"), frames),
        (("a clip, per frame", "ms", "p10", "p90"), clips),
        (("times as fast", ""), ratios),
        (("part", "ms", "roofline ms", "times the roofline", "GMAC"), parts),
    ]
    return [console_table(columns, lines) for columns, lines in tables if lines]


def equality_sentence(equal: Row) -> str:
    """Describe a row of :func:`src.measure.speed.compare_maps`."""
    return (
        f"label map against transformers at full size: {equal['different']} of {equal['pixels']} pixels differ, "
        f"{equal['near_ties']} of them by float rounding (scores deviate by {equal['score_deviation']:.1e}), "
        f"{equal['unexcused']} otherwise"
    )


def _spread(entry: dict[str, float]) -> tuple[str, str, str]:
    return number(entry["median"]), number(entry["p10"]), number(entry["p90"])
