"""Print a table that src.eval wrote as Markdown: python scripts/markdown_table.py outputs/quickstart/table.json."""

import argparse
import json
from pathlib import Path
from typing import Any

COLUMNS = {"miou": "mIoU", "wiou": "WIoU", "vc8": "mVC8", "vc16": "mVC16"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="JSON file written by src.eval")
    rows = json.loads(parser.parse_args().table.read_text())
    if any(row.get("scheduler", "fixed") != "fixed" for row in rows):
        print_schedules(rows)
    elif "key_interval" in rows[0]:
        print_methods(rows)
    else:
        print_flows(rows)


def print_methods(rows: list[dict[str, Any]]) -> None:
    per_frame = next((row["miou"] for row in rows if row["key_interval"] == 1), None)
    copied = {row["key_interval"]: row["miou"] for row in rows if row["method"] == "copy"}
    print("| method | k | " + " | ".join(COLUMNS.values()) + " | gap recovered | GFLOPs | ms key | ms non-key |")
    print("|---" * (len(COLUMNS) + 6) + "|")
    for row in rows:
        k = row["key_interval"]
        gap = per_frame - copied[k] if per_frame is not None and k in copied else 0
        recovered = f"{(row['miou'] - copied[k]) / gap:.0%}" if k > 1 and gap > 0 and row["method"] != "copy" else ""
        scores = " | ".join(_percent(row[name]) for name in COLUMNS)
        times = " | ".join("" if row[name] is None else f"{row[name]:.0f}" for name in ("ms_key", "ms_nonkey"))
        print(f"| {row['method']} | {k} | {scores} | {recovered} | {row['gflops']:.2f} | {times} |")


def print_schedules(rows: list[dict[str, Any]]) -> None:
    """Of an evaluation with schedulers: what was spent, and the gain over fixed intervals of that cost."""
    print("| method | scheduler | k | " + " | ".join(COLUMNS.values()) + " | GFLOPs spent | key frames | over fixed |")
    print("|---" * (len(COLUMNS) + 6) + "|")
    for row in rows:
        scores = " | ".join(_percent(row[name]) for name in COLUMNS)
        gain = "" if row["miou_over_fixed"] is None else f"{100 * row['miou_over_fixed']:+.2f}"
        name = f"{row['method']} | {row['scheduler']} | {row['key_interval']}"
        print(f"| {name} | {scores} | {row['gflops_measured']:.3g} | {_percent(row['key_share'])}% | {gain} |")


def print_flows(rows: list[dict[str, Any]]) -> None:
    """Of what=label_propagation a column for each offset, of what=endpoint_error one for each clip."""
    carried = "offset" in rows[0]
    scores: dict[str, dict[str, str]] = {}
    for row in rows:
        own = scores.setdefault(row["method"], {})
        if carried:
            own[f"offset {row['offset']}"] = _percent(row["miou"])
        else:
            own |= {clip: f"{error:.2f}" for clip, error in row.get("epe_per_clip", {}).items()}
            own["mean"] = "" if row["epe"] is None else f"{row['epe']:.2f}"
    names = list(dict.fromkeys(name for own in scores.values() for name in own))
    costs = {row["method"]: row for row in rows}
    print("| method | " + " | ".join(names) + " | GFLOPs | parameters, M | ms |")
    print("|---" * (len(names) + 4) + "|")
    for method, own in scores.items():
        cost = [costs[method][name] for name in ("gflops", "params_m", "ms")]
        figures = ["" if value is None else f"{value:.{digits}f}" for value, digits in zip(cost, (2, 2, 0), strict=True)]
        print(f"| {method} | " + " | ".join([*(own.get(name, "") for name in names), *figures]) + " |")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
