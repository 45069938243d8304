"""Models of each entry point's options, by the name of its file in ``conf/``, which has the options' descriptions."""

from typing import Annotated, Any, Literal

from pydantic import Field

from src.options.fields import (
    Autocast,
    CarryingFlow,
    Compile,
    Count,
    CountOrZero,
    DenseSize,
    Device,
    FirstFrames,
    Fusion,
    KeyIntervals,
    MapSize,
    Mode,
    Nodes,
    Options,
    Palette,
    Paths,
    PathText,
    Runtime,
    Seed,
    Side,
    Size,
    Split,
    Text,
    Threads,
    Workers,
)
from src.options.groups import (
    BreakEven,
    Data,
    Datamodule,
    Engine,
    Hub,
    Loader,
    MaskLoss,
    Model,
    Peers,
    Scheduler,
    Speed,
    Stage,
    StageName,
    Trainer,
)
from src.options.predictions import Demo, Export, Predict


class Train(Options):
    """Training of one stage."""

    paths: Paths
    data: Data
    model: Model
    stage: Stage
    trainer: Trainer
    logger: Nodes
    callbacks: Nodes
    name: Text
    run_dir: PathText
    job: CountOrZero | None
    seed: Seed
    resume: bool | Literal["force"]
    overwrite: bool
    replay: PathText | None
    monitor: Text | None
    key_interval: Count
    palette: Palette
    upload_model: bool
    hub: Hub
    batch_size: Count
    global_batch_size: Count | None
    samples_per_pair: Count
    extra_train: Nodes | None
    num_workers: Workers
    mask_loss: MaskLoss
    datamodule: Datamodule
    # Keys of conf/sweep/flow.yaml.
    flow_choice: Text = ""
    flow_choices: Nodes | None = None
    flow_trainable: dict[str, list[Text]] | None = None
    flow_queries: dict[str, Text] | None = None

    @classmethod
    def needed(cls, values: dict[str, Any]) -> set[str] | None:
        """Return no option for ``replay``, which takes its networks from the failed run."""
        return None if values.get("replay") is None else set()


class Benchmark(Train):
    """Cost and speed of a model, on top of the options of a training."""

    what: Literal["all", "cost", "latency", "speed", "loader", "training", "paper", "break_even", "peers"]
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
    runtime: Runtime
    speed: Speed
    loader: Loader
    flow: CarryingFlow
    dis_short_side: Side | None
    break_even: BreakEven
    peers: Peers

    @classmethod
    def needed(cls, values: dict[str, Any]) -> set[str] | None:
        """Return no option with a checkpoint, which replaces the configured model."""
        return None if values.get("checkpoint") is None else set()


class Eval(Options):
    """Evaluation of methods, prediction files or flows."""

    data: Data
    adaptive: Scheduler
    budget: Scheduler
    logger: Nodes
    paths: Paths
    engine: Engine
    known_flows: Nodes
    what: Literal["masks", "label_propagation", "endpoint_error"]
    checkpoint: PathText | None = None
    predictions: PathText | None
    output: PathText
    overwrite: bool
    methods: Annotated[
        list[Literal["per_frame", "videomt", "copy", "dis", "dis_fine", "pixel", "query", "correlation"]], Field(min_length=1)
    ]
    key_intervals: KeyIntervals
    schedulers: Annotated[list[Literal["fixed", "adaptive", "budget"]], Field(min_length=1)]
    mode: Mode | Annotated[list[Mode], Field(min_length=1)]
    fusion: Fusion | Annotated[list[Fusion], Field(min_length=1)]
    fuse_keys: bool | Annotated[list[bool], Field(min_length=1)]
    interval_shifts: Count
    protocol: Literal["stream", "pairs"]
    key_frame_offsets: Literal["all", "first"]
    max_clips: Count | None
    short_side: Side | None
    max_long_side: Side | None
    split_images: bool
    dense_size: DenseSize
    temporal_consistency: bool
    disoccluded: bool
    first_frames: FirstFrames
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
    runtime: Runtime
    threads: Threads | None
    save_predictions: PathText | None
    report: PathText | None
    overlay: PathText | None
    pictures: PathText | None
    palette: Palette
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


class CheckData(Options):
    """Check of the files of a dataset."""

    paths: Paths
    data: Data
    splits: Annotated[list[Split], Field(min_length=1)]
    workers: Workers
    output: PathText
    exclusion: PathText
    overwrite: bool
    write_classes: bool


class Convert(Options):
    """Conversion of weights."""

    paths: Paths
    data: Data | None = None
    input: PathText
    output: PathText
    to: Literal["ours", "official"]
    flow: Literal["copy", "dis"]
    precision: Literal["f32", "bf16"]
    overwrite: bool


class Push(Options):
    """Upload of a model folder."""

    paths: Paths
    input: PathText
    repo_id: Text
    private: bool | None
    license: Text | None
    evaluation: PathText | None
    picture: PathText | None
    message: Text
    overwrite: bool


MODELS: dict[str, type[Options]] = {
    "benchmark": Benchmark,
    "check_data": CheckData,
    "convert": Convert,
    "demo": Demo,
    "eval": Eval,
    "export": Export,
    "predict": Predict,
    "push": Push,
    "train": Train,
}
"""Models by config name."""
