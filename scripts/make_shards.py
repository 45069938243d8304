"""Write a data set to shards, for remote storage and for storage that is slow on many small files.

python scripts/make_shards.py data/VSPW_480p shards/VSPW_480p     after a stop, the same command resumes
python scripts/make_shards.py --check shards/VSPW_480p            read every file of shards on a disk or at a URL
python scripts/make_shards.py --time data/VSPW_480p shards/VSPW_480p https://...    time reading of random images from each

Then use data.root=shards/VSPW_480p, or the URL of a copy, instead of data.root=data/VSPW_480p.
"""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# The package is not installed; it is beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.shards.path import ShardPath, dataset_root
from src.data.shards.reader import Shards
from src.data.shards.writer import check_shards, find_files, plan_shards, write_shards
from src.files.images.readers import read_rgb


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="folder of a data set")
    parser.add_argument("target", nargs="?", type=Path, help="a new folder, or one of an earlier run")
    parser.add_argument("--check", metavar="ROOT", help="folder or URL of shards; read every file instead")
    parser.add_argument(
        "--time", metavar="ROOT", nargs="+", help="folders and URLs of one data set, with or without shards; compare them instead"
    )
    parser.add_argument("--num-images", type=int, default=200, help="images to read for --time")
    parser.add_argument("--shard-mb", type=float, default=256, help="largest size of a shard, megabytes")
    parser.add_argument("--leave-out", action="append", default=[], metavar="PATTERN", help="files to leave out, e.g. '*.zip'")
    options = parser.parse_args(arguments)
    given = [options.source is not None and options.target is not None, options.check is not None, options.time is not None]
    if sum(given) != 1:
        parser.error("expected a source and a target, or --check, or --time")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        if options.check:
            return check(options.check, console)
        return compare(options.time, options.num_images, console) if options.time else make(options, console)
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red")
        return 2


def make(options: argparse.Namespace, console: Console) -> int:
    shards = plan_shards(find_files(options.source, options.leave_out), int(options.shard_mb * 1e6))
    total = sum(file.size for files in shards for file in files)
    kept = 0
    with Progress(*_columns(DownloadColumn()), console=console, transient=True) as progress:
        task = progress.add_task("shards", total=total)
        for files, was_kept in zip(shards, write_shards(options.source, options.target, shards), strict=True):
            progress.advance(task, sum(file.size for file in files))
            kept += was_kept
    before = f", {kept} of them from an earlier run" if kept else ""
    console.print(f"{sum(map(len, shards))} files, {total / 1e6:.1f} MB, in {len(shards)} shards in {options.target}{before}")
    return 0


def check(url: str, console: Console) -> int:
    shards = Shards(url)
    number, faults = sum(1 for _ in shards.index.files()), 0
    with Progress(*_columns(MofNCompleteColumn()), console=console, transient=True) as progress:
        for fault in progress.track(check_shards(shards), number, description="files"):
            if fault is not None:
                faults += 1
                progress.console.print(fault)
    console.print(f"{number} files in {len(shards.index.shards)} shards, {faults} of them damaged")
    return 1 if faults else 0


def compare(roots: list[str], num_images: int, console: Console) -> int:
    opened = [dataset_root(root) for root in roots]
    sharded = next((root for root in opened if isinstance(root, ShardPath)), None)
    if sharded is None:
        raise ValueError(f"none of {', '.join(roots)} contains shards; expected at least one folder or URL of shards")
    images = sorted(name for name in sharded.shards.index.files() if name.lower().endswith((".jpg", ".jpeg")))
    random.Random(0).shuffle(images)
    seconds: dict[str, list[float]] = {}
    # In turn, so that other load on the machine affects all alike; the first round opens connections and fills caches.
    for number, name in enumerate([images[0], *images[:num_images]]):
        for root, path in zip(roots, opened, strict=True):
            for what, read in (("read", lambda file: file.read_bytes()), ("read and decoded", read_rgb)):
                if isinstance(path, ShardPath):
                    path.shards.clear()
                start = time.perf_counter()
                read(path / name)
                if number:
                    seconds.setdefault(f"{what}: {root}", []).append(time.perf_counter() - start)
    for what, values in seconds.items():
        console.print(f"{1e3 * statistics.median(values):8.3f} ms an image {what}")
    return 0


def _columns(middle: DownloadColumn | MofNCompleteColumn) -> tuple[object, ...]:
    return TextColumn("{task.description}"), BarColumn(), middle, TimeRemainingColumn()


if __name__ == "__main__":
    sys.exit(main())
