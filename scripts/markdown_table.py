"""Print a table that src.eval wrote as Markdown: python scripts/markdown_table.py outputs/quickstart/table.json."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

# The package is not installed: it is in the folder above this one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.files.tables import Row, markdown_table
from src.files.tables import number as _number

SCORES = {"miou": "mIoU", "wiou": "WIoU", "vc8": "mVC8", "vc16": "mVC16"}
number = partial(_number, missing="")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="JSON file written by src.eval")
    rows = json.loads(parser.parse_args().table.read_text())
    if any(row.get("scheduler", "fixed") != "fixed" for row in rows):
        table = scheduler_table(rows)
    elif "key_interval" in rows[0]:
        table = method_table(rows)
    else:
        table = flow_table(rows)
    print(markdown_table(list(table[0]), [list(line.values()) for line in table]))


def method_table(rows: list[Row]) -> list[dict[str, str]]:
    """Tabulate methods, with the share of the loss from copying masks that each recovers."""
    per_frame = next((row["miou"] for row in rows if row["key_interval"] == 1), None)
    copied = {row["key_interval"]: row["miou"] for row in rows if row["method"] == "copy"}
    table = []
    for row in rows:
        k = row["key_interval"]
        gap = per_frame - copied[k] if per_frame is not None and k in copied else 0
        recovered = f"{(row['miou'] - copied[k]) / gap:.0%}" if k > 1 and gap > 0 and row["method"] != "copy" else ""
        costs = {
            "GFLOPs": number(row["gflops"], 2),
            "ms key": number(row["ms_key"], 0),
            "ms non-key": number(row["ms_nonkey"], 0),
        }
        table.append({"method": row["method"], "k": str(k), **_scores(row), "gap recovered": recovered, **costs})
    return table


def scheduler_table(rows: list[Row]) -> list[dict[str, str]]:
    """Tabulate schedulers, with the measured cost and the gain over fixed intervals of equal cost."""
    return [
        {
            **{name: str(row[key]) for name, key in (("method", "method"), ("scheduler", "scheduler"), ("k", "key_interval"))},
            **_scores(row),
            "GFLOPs spent": f"{row['gflops_measured']:.3g}",
            "key frames": f"{100 * row['key_share']:.1f}%",
            "over fixed": "" if row["miou_over_fixed"] is None else f"{100 * row['miou_over_fixed']:+.2f}",
        }
        for row in rows
    ]


def flow_table(rows: list[Row]) -> list[dict[str, str]]:
    """Tabulate flows: a column for each offset of what=label_propagation, or for each clip of what=endpoint_error."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault(row["method"], {})
        if "offset" in row:
            line[f"offset {row['offset']}"] = number(row["miou"], 1, 100)
        else:
            line |= {clip: number(error, 2) for clip, error in row.get("epe_per_clip", {}).items()} | {
                "mean": number(row["epe"], 2)
            }
    names = list(dict.fromkeys(name for line in lines.values() for name in line))
    costs = {row["method"]: row for row in rows}
    return [
        {
            "method": method,
            **{name: line.get(name, "") for name in names},
            "GFLOPs": number(costs[method]["gflops"], 2),
            "parameters, M": number(costs[method]["params_m"], 2),
            "ms": number(costs[method]["ms"], 0),
        }
        for method, line in lines.items()
    ]


def _scores(row: Row) -> dict[str, str]:
    return {title: number(row[name], 1, 100) for name, title in SCORES.items()}


if __name__ == "__main__":
    main()
