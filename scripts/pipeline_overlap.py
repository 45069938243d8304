"""Measure the speed-up of decoding, predicting and writing a video in parallel.

python scripts/pipeline_overlap.py input=<video> checkpoint=<model> output=<folder> [option=value ...]

The options are those of ``python -m src.predict``. The video is predicted three times in parallel and three times sequentially,
alternating, into folders below ``output``. Prints wall-clock seconds, medians with minimum and maximum.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from omegaconf import open_dict

# The package is not installed; it is in the parent folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command_line.arguments import quote_paths
from src.commands.predict import predict
from src.inference.video import prediction as video_prediction
from src.inference.video.pipeline import run_pipeline

A = TypeVar("A")
B = TypeVar("B")
CONF = Path(__file__).resolve().parents[1] / "conf"
REPEATS = 3


def run_sequentially(
    items: Iterable[A], work: Callable[[Iterator[A]], Iterator[B]], consume: Callable[[B], None], *rest: object
) -> None:
    """Do the work of :func:`src.inference.video.pipeline.run_pipeline` in one thread."""
    for result in work(iter(items)):
        consume(result)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("predict", quote_paths(sys.argv[1:]))
    folder = Path(str(cfg.output))
    modes = {"parallel": run_pipeline, "sequential": run_sequentially}
    seconds: dict[str, list[float]] = {name: [] for name in modes}
    for repeat in range(REPEATS):
        for name, mode in modes.items():
            with open_dict(cfg):
                cfg.output = str(folder / f"{name.replace(' ', '_')}_{repeat}")
            with patch.object(video_prediction, "run_pipeline", mode):
                start = time.perf_counter()
                predict(cfg)
                seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"{name}: {statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})")
    slow, fast = (statistics.median(seconds[name]) for name in ("sequential", "parallel"))
    print(f"speed-up of parallel: {slow / fast:.2f}")


if __name__ == "__main__":
    main()
