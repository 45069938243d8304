"""What is gained by decoding, labelling and writing a video at the same time.

python scripts/pipeline_overlap.py input=<video> checkpoint=<model> output=<folder> [option=value ...]

The options are those of ``python -m src.predict``. The video is labelled as that does it, and frame by frame with one thing after
another, in turn and three times each, into folders below ``output``; printed are seconds on the clock, medians with the spread.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import TypeVar
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from omegaconf import open_dict

# The package is not installed: it lies beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command_line import quote_paths
from src.commands.predict import predict
from src.inference.video import prediction as video_prediction
from src.inference.video.pipeline import run_pipeline

A = TypeVar("A")
B = TypeVar("B")
CONF = Path(__file__).resolve().parents[1] / "conf"
REPEATS = 3


def in_turn(
    items: Iterable[A], work: Callable[[A], B], consume: Callable[[B], None], depth: int = 4, stop: Event | None = None
) -> None:
    """What :func:`src.inference.video.pipeline.run_pipeline` does, in one thread."""
    for item in items:
        if stop is not None and stop.is_set():
            break
        consume(work(item))


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("predict", quote_paths(sys.argv[1:]))
    folder = Path(str(cfg.output))
    ways = {"at the same time": run_pipeline, "one after another": in_turn}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(REPEATS):
        for name, way in ways.items():
            with open_dict(cfg):
                cfg.output = str(folder / f"{name.replace(' ', '_')}_{repeat}")
            with patch.object(video_prediction, "run_pipeline", way):
                start = time.perf_counter()
                predict(cfg)
                seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"{name}: {statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})")
    slow, fast = (statistics.median(seconds[name]) for name in ("one after another", "at the same time"))
    print(f"{slow / fast:.2f} times as fast at the same time")


if __name__ == "__main__":
    main()
