"""Options of ``python -m src.eval``, see ``conf/eval.yaml``."""

from typing import Annotated, Any, Literal

from pydantic import Field

from src.options.fields import (
    Autocast,
    Count,
    CountOrZero,
    Device,
    KeyIntervals,
    Nodes,
    Options,
    Paths,
    PathText,
    Side,
    Size,
    Text,
    Threads,
)  # fmt: skip
from src.options.groups import Data, Scheduler


class StageName(Options):
    """Name of the stage in a logger's settings."""

    name: Text


class Eval(Options):
    """Evaluation of methods, prediction files or flows."""

    data: Data
    adaptive: Scheduler
    budget: Scheduler
    logger: Nodes
    paths: Paths
    known_flows: Nodes
    what: Literal["masks", "label_propagation", "endpoint_error"]
    checkpoint: PathText | None = None
    predictions: PathText | None
    output: PathText
    overwrite: bool
    methods: Annotated[list[Literal["per_frame", "copy", "dis", "pixel", "query"]], Field(min_length=1)]
    key_intervals: KeyIntervals
    schedulers: Annotated[list[Literal["fixed", "adaptive", "budget"]], Field(min_length=1)]
    interval_shifts: Count
    protocol: Literal["stream", "pairs"]
    key_frame_offsets: Literal["all", "first"]
    max_clips: Count | None
    short_side: Side | None
    max_long_side: Side | None
    temporal_consistency: bool
    flows: list[Text]
    checkpoints: list[PathText]
    picture_flows: list[Text] | None
    cost_only: list[Text]
    offsets: KeyIntervals
    target_stride: Count
    cost_size: Size
    timing_repeats: CountOrZero
    device: Device
    autocast: Autocast
    threads: Threads | None
    save_predictions: PathText | None
    report: PathText | None
    overlay: PathText | None
    pictures: PathText | None
    picture_interval: Count
    name: Text
    job: CountOrZero | None
    stage: StageName
    run_dir: PathText

    @classmethod
    def needed(cls, values: dict[str, Any]) -> set[str] | None:
        """Return ``output``, and ``checkpoint`` where masks are predicted."""
        without_model = values.get("what") != "masks" or values.get("predictions") is not None
        return {"output"} if without_model else {"output", "checkpoint"}
