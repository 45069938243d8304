"""Make VSPW's 480p variant: python scripts/prepare_vspw.py data/VSPW data/VSPW_480p. Run it again after a stop: it goes on."""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# The package is not installed: it lies beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.integrity.process_map import map_files
from src.data.prepare.vspw_480p import ResizeSettings, copy_lists, open_tasks, resize_file, start_target


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("source", type=Path, help="VSPW at full size: data/<video>/{origin,mask}, train.txt, val.txt, test.txt")
    parser.add_argument("target", type=Path, help="a new folder, or one that this script began")
    parser.add_argument("--short-side", type=int, default=480, help="pixels")
    parser.add_argument("--jpeg-quality", type=int, default=75, help="75 is what the published 480p script writes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; 0: work in this one")
    options = parser.parse_args(arguments)
    if options.workers < 0:
        parser.error(f"--workers {options.workers}; expected 0 or more")
    console = Console()
    try:
        return prepare(options, console)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on with what is left", style="red")
        return 130


def prepare(options: argparse.Namespace, console: Console) -> int:
    """The exit code; what is wrong is printed."""
    try:
        settings = ResizeSettings(options.short_side, options.jpeg_quality)
        start_target(options.source, options.target, settings)
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    tasks = list(open_tasks(options.source, options.target, settings))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    faults = []
    with Progress(*columns, console=console, transient=True) as progress:
        for fault in progress.track(map_files(resize_file, tasks, options.workers), len(tasks), description="files"):
            if fault is not None:
                faults.append(fault)
                progress.console.print(fault, highlight=False, markup=False, soft_wrap=True)
    # Last: a folder without its lists is not read as a data set.
    lists = copy_lists(options.source, options.target)
    left_out = f", {len(faults)} left out as unreadable" if faults else ""
    done = f"{len(tasks) - len(faults)} files written to {options.target}{left_out}; copied: {', '.join(lists)}"
    console.print(done, highlight=False, markup=False, soft_wrap=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
