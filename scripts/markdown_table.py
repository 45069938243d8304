"""Print a table that src.eval wrote as Markdown: python scripts/markdown_table.py outputs/quickstart/table.json."""

import argparse
import json
from pathlib import Path

COLUMNS = {"miou": "mIoU", "wiou": "WIoU", "vc8": "mVC8", "vc16": "mVC16"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="JSON file written by src.eval")
    rows = json.loads(parser.parse_args().table.read_text())
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


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
