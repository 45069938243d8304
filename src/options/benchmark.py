"""Options of ``python -m src.benchmark``, see ``conf/benchmark.yaml``."""

from typing import Annotated, Any, Literal

from pydantic import Field

from src.options.fields import (
    Autocast,
    Compile,
    Count,
    CountOrZero,
    Device,
    KeyIntervals,
    MapSize,
    Options,
    PathText,
    Size,
    Threads,
)  # fmt: skip
from src.options.train import Train


class Speed(Options):
    """Options of ``what=speed``."""

    measure: Annotated[list[Literal["frames", "clips", "parts"]], Field(min_length=1)]
    key_intervals: KeyIntervals
    num_frames: Count
    clip_repeats: Count


class Loader(Options):
    """Options of ``what=loader``."""

    source: Literal["generated", "dataset"]
    filtered_labels: bool
    num_pairs: Count


class Benchmark(Train):
    """Cost and speed of a model, on top of the options of a training."""

    what: Literal["all", "cost", "latency", "speed", "loader", "training", "paper"]
    checkpoint: PathText | None
    size: Size | None
    output: PathText | None
    device: Device
    autocast: Autocast
    threads: Threads | None
    warmup: CountOrZero
    repeats: Count
    compile: Compile
    map_size: MapSize
    speed: Speed
    loader: Loader

    @classmethod
    def needed(cls, values: dict[str, Any]) -> set[str] | None:
        """Return no option with a checkpoint, which replaces the configured model."""
        return None if values.get("checkpoint") is None else set()
