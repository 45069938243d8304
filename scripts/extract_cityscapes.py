"""Extract the used frames: python scripts/extract_cityscapes.py leftImg8bit_sequence_trainvaltest.zip gtFine_trainvaltest.zip

The archive of sequences exceeds 300 GB; training and evaluation read a fraction of it, the frames around each label.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

# The package is not installed; it is a neighbour of this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.prepare.cityscapes_archive import ExtractionPlan, extract_entries, is_extracted, plan_extraction


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("archives", type=Path, nargs="+", help="zip files of cityscapes-dataset.com: sequences and gtFine")
    parser.add_argument(
        "--output", type=Path, default=Path("data/cityscapes"), help="target folder; complete files in it are kept"
    )
    parser.add_argument(
        "--splits", nargs="+", default=["train", "val"], choices=["train", "val", "test"], help="splits of the labels"
    )
    parser.add_argument("--key-interval", type=int, default=5, help="key-frame interval of evaluation, frames")
    parser.add_argument("--pair-range", type=int, default=10, help="maximum distance of training pairs, frames")
    parser.add_argument(
        "--frames-after", type=int, default=0, help="frames after each label, for triplets: 9 for intervals up to 10"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and extract nothing")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        ranges = options.key_interval, options.pair_range, options.frames_after
        plan = plan_extraction(options.archives, options.output, options.splits, *ranges)
        describe(plan, options.output, console)
        if not options.dry_run:
            extract(plan, options.output, console)
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; the same command continues with the remaining files", style="red")
        return 130
    for label in plan.without_image[:10]:
        console.print(f"{label}: the labelled frame is in no archive", style="red", highlight=False, markup=False, soft_wrap=True)
    if len(plan.without_image) > 10:
        console.print(f"... and {len(plan.without_image) - 10} more labels", style="red", highlight=False)
    return 1 if plan.without_image else 0


def describe(plan: ExtractionPlan, output: Path, console: Console) -> None:
    """Print the numbers and sizes of the files to extract."""
    existing = sum(is_extracted(entry, output) for entry in plan.entries)
    console.print(
        f"{len(plan.entries)} files for {plan.labelled} labels, {decimal(plan.wanted_bytes)} of the {decimal(plan.total_bytes)} "
        f"of frames and labels in the archives; {existing} exist already",
        highlight=False,
        soft_wrap=True,
    )
    if plan.shortened:
        console.print(f"labelled frames with fewer frames before or after them than requested: {plan.shortened}", highlight=False)


def extract(plan: ExtractionPlan, output: Path, console: Console) -> None:
    columns = (TextColumn("extracting"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("extracting", total=plan.wanted_bytes)
        for size in extract_entries(plan.entries, output):
            progress.advance(task, size)
    console.print(f"extracted to {output}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
