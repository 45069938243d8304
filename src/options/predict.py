"""Options of ``python -m src.predict``, see ``conf/predict.yaml``."""

from typing import Annotated

from pydantic import Field

from src.options.fields import (
    Autocast,
    Compile,
    Count,
    Device,
    FlowName,
    FrameRate,
    MapSize,
    NetworkSide,
    Options,
    Paths,
    PathText,
    Share,
    Side,
    Split,
    Threads,
)  # fmt: skip
from src.options.groups import Data, Scheduler


class Network(Options):
    """Options of a network that runs on video, for predictions and the demo page."""

    checkpoint: PathText
    key_interval: Count
    flow: FlowName
    dis_short_side: Side | None
    short_side: NetworkSide
    max_long_side: NetworkSide
    clip_split: Split
    max_frames: Count | None
    device: Device
    autocast: Autocast
    threads: Threads | None
    paths: Paths
    data: Data | None = None


class Predict(Network):
    """Prediction of a video or of many."""

    input: PathText
    output: PathText
    overwrite: bool
    fps: FrameRate
    labels: bool
    flow_pictures: bool
    legend: bool
    source_beside: bool
    alpha: Share
    quality: Annotated[int, Field(ge=0, le=51)]
    compile: Compile
    map_size: MapSize
    scheduler: Scheduler
