"""Options of the commands that run a network on video, or prepare it for that: predictions, the demo page and exports."""

from typing import Annotated, Literal

from pydantic import Field

from src.options.fields import (
    Autocast,
    Bytes,
    Compile,
    Count,
    DenseSize,
    Device,
    FirstFrames,
    FlowName,
    FrameRate,
    Fusion,
    LivePage,
    MapSize,
    Mode,
    NetworkSide,
    Nodes,
    Options,
    Palette,
    Paths,
    PathText,
    Port,
    Positive,
    Runtime,
    Share,
    Side,
    Size,
    Split,
    Threads,
)
from src.options.groups import Data, Engine, Scheduler


class Network(Options):
    """Options of a network that runs on video, for predictions and the demo page."""

    checkpoint: PathText
    fusion: Fusion
    fuse_keys: bool
    key_interval: Count
    flow: FlowName
    dis_short_side: Side | None
    short_side: NetworkSide
    max_long_side: NetworkSide
    dense_size: DenseSize
    clip_split: Split
    max_frames: Count | None
    palette: Palette
    device: Device
    autocast: Autocast
    runtime: Runtime
    threads: Threads | None
    paths: Paths
    data: Data | None = None


class Predict(Network):
    """Prediction of a video or of many."""

    input: PathText
    output: PathText | None
    overwrite: bool
    mode: Literal["auto"] | Mode
    reset_at_cuts: bool
    split_images: bool
    first_frames: FirstFrames
    fps: FrameRate
    max_seconds: Positive | None
    live: Literal["auto"] | bool
    live_timeout: Annotated[float, Field(gt=0, le=3600)]
    reconnect_seconds: Annotated[float, Field(gt=0, le=3600)]
    reconnect_attempts: Annotated[int, Field(ge=0, le=1_000_000)]
    live_page: LivePage | None
    labels: bool
    flow_pictures: bool
    exports: list[Literal["palette", "label_video", "coco", "panoptic", "geojson", "cvat", "detections"]]
    flicker: bool
    confidence: bool
    report: bool
    flow_scale: Positive | None
    legend: Literal["side", "bottom", "off"]
    key_marks: bool
    source_beside: bool
    sound: bool
    alpha: Share
    quality: Annotated[int, Field(ge=0, le=51)]
    compile: Compile
    map_size: MapSize
    scheduler: Scheduler
    engine: Engine


class Demo(Network):
    """Page to try a model on video."""

    clips: PathText | None
    mode: Mode
    max_upload: Bytes
    max_stored: Bytes
    schedules: Nodes
    port: Port | None
    open_browser: bool


class Export(Options):
    """Export of a model's networks for a runtime."""

    paths: Paths
    checkpoint: PathText
    output: PathText
    format: Literal["onnx", "openvino", "torch_export"]
    imgsz: Size
    precision: Literal["f32", "bf16"]
    input: PathText | None
    num_frames: Count
    overwrite: bool
    threads: Threads | None
