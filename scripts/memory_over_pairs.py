"""Measure memory while training pairs are read: python scripts/memory_over_pairs.py [--pairs 2000] [--workers 1]

Reads pairs of generated 480p files through VSPW's training transform and a loader, in batches of eight. Prints the memory of this
process and its loader processes, with shared pages counted once. The exit code is 1 if memory at the end is more than 5 % larger
than after a quarter of the pairs (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from pathlib import Path

from torch.utils.data import DataLoader

# The package is not installed; it is beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.pairs.color_jitter import ColorJitter
from src.data.pairs.dataset import PairDataset, collate_pairs
from src.data.pairs.sampling import UniformSampling
from src.data.pairs.transforms import PairTransform, RandomCrop, RandomHorizontalFlip, RandomShortSide
from src.data.worker import prepare_worker
from src.measure.sample_clips import sample_clips

BATCH = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.pairs < 8 * BATCH:
        parser.error(f"--pairs {options.pairs}; expected at least {8 * BATCH}")
    transform = PairTransform([RandomShortSide(), RandomCrop((480, 480)), RandomHorizontalFlip(), ColorJitter()])
    with tempfile.TemporaryDirectory() as folder:
        clips = sample_clips(Path(folder), (480, 853), num_classes=124)
        pairs = PairDataset(clips, UniformSampling(10), transform, num_samples=options.pairs, seed=0)
        loader = DataLoader(
            pairs, BATCH, num_workers=options.workers, collate_fn=collate_pairs, worker_init_fn=prepare_worker, drop_last=True
        )
        taken: dict[int, float] = {}
        marks = {round(eighth * len(loader) / 8) for eighth in range(1, 9)}
        for number, _ in enumerate(loader, start=1):
            if number in marks:
                taken[number] = memory_mb()
                print(f"{number * BATCH:7d} pairs  {taken[number]:8.1f} MB", flush=True)
    after_quarter, last = taken[round(len(loader) / 4)], taken[len(loader)]
    print(f"{last / after_quarter - 1:+.2%} from the first quarter to the end; limit +5 %")
    return 1 if last > 1.05 * after_quarter else 0


def memory_mb() -> float:
    """Return the proportional set size of this process and its children, MB."""
    ids = ["self", *(str(child.pid) for child in multiprocessing.active_children())]
    pages = [Path(f"/proc/{number}/smaps_rollup").read_text() for number in ids]
    return sum(int(line.split()[1]) for text in pages for line in text.splitlines() if line.startswith("Pss:")) / 1e3


if __name__ == "__main__":
    sys.exit(main())
