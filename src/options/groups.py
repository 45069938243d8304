"""Options of mappings in the configurations; some are of some choices of a group, and targets take further arguments."""

from typing import Annotated, Any, Literal

from pydantic import Field

from src.options.fields import (
    Count,
    CountOrZero,
    FrameRate,
    KeyIntervals,
    NotNegative,
    Options,
    Part,
    PathText,
    Positive,
    Share,
    Side,
    Size,
    Text,
    Workers,
)


class Sides(Options):
    """Evaluation size of a dataset."""

    short_side: Side | None
    max_long_side: Side | None


class Scenes(Options):
    """Generated scenes."""

    num_clips: Count | None
    num_frames: Count | None
    size: Size
    seed: CountOrZero
    cuts: CountOrZero


class Data(Part):
    """``conf/data``; a dataset of one's own may have further keys."""

    name: Text
    root: PathText = None
    num_classes: CountOrZero | None
    split: Text = ""
    train_split: Text = ""
    exclude: PathText | None = None
    min_clip_length: Count = 1
    labelling: Literal["any", "every_frame", "all_or_none"] = "any"
    motion_from: Literal["auto", "stills", "frames"] = "stills"
    crop_size: Size | None = None
    val_samples: CountOrZero = 0
    jitter_on: Literal["worker", "device"] = "worker"
    eval: Sides
    scenes: Scenes | None = None
    published_clips: dict[str, int] | None = None
    pair_sampling: dict[str, Any] | None = None
    triplet_sampling: dict[str, Any] | None = None
    clip_sampling: dict[str, Any] | None = None
    motion: dict[str, Any] | None = None
    train_transform: dict[str, Any] | None = None
    eval_transform: dict[str, Any] | None = None
    train: dict[str, Any] | None = None
    val: dict[str, Any] | None = None
    test: dict[str, Any] | None = None
    on_corrupt: Literal["raise", "skip"] = "raise"
    max_skipped: CountOrZero = 0


class Scheduler(Part):
    """``conf/scheduler``."""

    key_interval: Annotated[float, Field(ge=1)] | None = None
    min_interval: Count = 1
    max_interval: Count | None = None
    gflops: Positive | None = None
    ms: Positive | None = None
    percent: Annotated[float, Field(gt=0, le=100)] | None = None
    weight: Share = 0
    cut_similarity: Annotated[float, Field(ge=-1, le=1)] = 0
    interval_shift: Annotated[float, Field(ge=0, lt=1)] = 0


class Engine(Options):
    """``conf/engine``."""

    name: Literal["local", "ray"]
    address: Text | None = None
    workers: Count | None = None
    cpus: Positive = 1
    gpus: NotNegative | None = None
    retries: CountOrZero = 0


class Model(Options):
    """``conf/model``."""

    segmentor: dict[str, Any]
    flow: dict[str, Any]
    clip_segmentor: dict[str, Any]
    warp_grid: Literal["exact", "reference"]


class Optim(Part):
    """Optimizer of a stage."""

    lr: Positive
    weight_decay: NotNegative
    backbone_factor: NotNegative
    power: NotNegative
    warmup_steps: CountOrZero
    warmup_start: Share = 0


class Stage(Options):
    """``conf/stage``."""

    name: Literal["segmentor", "flow", "propagation", "fusion", "clips", "recurrent"]
    init_from: PathText | None
    segmentor: dict[str, Any] | None
    flow: dict[str, Any] | None
    sampling: dict[str, Any] | None
    motion: dict[str, Any] | None
    objective: dict[str, Any]
    optim: Optim
    fusion_dim: Count = 1


class Trainer(Part):
    """``conf/trainer``; further keys are arguments of Lightning's trainer."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: Literal["auto", -1] | Count | list[CountOrZero]
    num_nodes: Count
    max_steps: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    gradient_clip_val: NotNegative | None
    accumulate_grad_batches: Count
    val_check_interval: Count
    log_every_n_steps: Count
    num_sanity_val_steps: CountOrZero
    sync_batchnorm: bool = False


class MaskLoss(Part):
    """Mask2Former's set loss."""

    class_weight: NotNegative
    mask_weight: NotNegative
    dice_weight: NotNegative
    no_object_weight: NotNegative
    num_points: Count
    importance_ratio: Share


class Datamodule(Part):
    """Batches of training pairs."""

    batch_size: Count
    num_workers: Workers
    samples_per_pair: Count


class Hub(Options):
    """Repository of the trained model."""

    repo_id: Text | None
    push: bool
    private: bool | None
    license: Text | None
    picture: PathText | None


class Speed(Options):
    """Options of ``what=speed``."""

    measure: Annotated[list[Literal["frames", "clips", "parts"]], Field(min_length=1)]
    key_intervals: KeyIntervals
    num_frames: Count
    clip_repeats: Count


class BreakEven(Options):
    """Options of ``what=break_even``."""

    key_intervals: KeyIntervals
    clip: PathText | None
    max_frames: Annotated[int, Field(ge=2)]
    fps: FrameRate


class Peers(Options):
    """Options of ``what=peers``."""

    networks: Annotated[
        list[
            Literal[
                "mask2former_r50", "mask2former_swinl", "videomt_small", "videomt_large", "mrcfa_b1", "mrcfa_b5",
                "segformer_b1", "segformer_b5",
            ]
        ],
        Field(min_length=1),
    ]  # fmt: skip
    repeats: Count


class Loader(Options):
    """Options of ``what=loader``."""

    source: Literal["generated", "dataset"]
    filtered_labels: bool
    num_pairs: Count


class StageName(Options):
    """Name of the stage in a logger's settings."""

    name: Text
