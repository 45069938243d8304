"""Resize VSPW to 480p: python scripts/prepare_vspw.py data/VSPW data/VSPW_480p

After an interruption, the same command continues with the remaining files.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# The package is not installed; it is a neighbour of this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.integrity.process_map import map_files
from src.data.prepare.vspw_480p import ResizeSettings, copy_lists, open_tasks, resize_file, start_target


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("source", type=Path, help="VSPW at full size: data/<video>/{origin,mask}, train.txt, val.txt, test.txt")
    parser.add_argument("target", type=Path, help="a new folder, or one started by this script")
    parser.add_argument("--short-side", type=int, default=480, help="shorter side of the results, pixels")
    parser.add_argument("--jpeg-quality", type=int, default=75, help="1..100; 75 as in the published 480p script")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="number of processes; 0: this process")
    options = parser.parse_args(arguments)
    if options.workers < 0:
        parser.error(f"--workers {options.workers}; expected 0 or more")
    console = Console()
    try:
        return prepare(options, console)
    except KeyboardInterrupt:
        console.print("stopped; the same command continues with the remaining files", style="red")
        return 130


def prepare(options: argparse.Namespace, console: Console) -> int:
    """Resize all files and return the exit code; errors are printed."""
    try:
        settings = ResizeSettings(options.short_side, options.jpeg_quality)
        start_target(options.source, options.target, settings)
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    tasks = list(open_tasks(options.source, options.target, settings))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = []
    with Progress(*columns, console=console, transient=True) as progress:
        for error in progress.track(map_files(resize_file, tasks, options.workers), len(tasks), description="files"):
            if error is not None:
                errors.append(error)
                progress.console.print(error, highlight=False, markup=False, soft_wrap=True)
    # Last, as a folder without its lists is not a dataset.
    lists = copy_lists(options.source, options.target)
    left_out = f", {len(errors)} left out as unreadable" if errors else ""
    done = f"{len(tasks) - len(errors)} files written to {options.target}{left_out}; copied: {', '.join(lists)}"
    console.print(done, highlight=False, markup=False, soft_wrap=True)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
