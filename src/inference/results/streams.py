"""Streams that label videos, by the options of ``src.predict`` and of the Python API."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import torch

from src.inference.flow_choice import with_flow
from src.inference.frame_networks import Compile
from src.inference.methods import EVERY_FRAME
from src.inference.runtime.frames import RuntimeName, Runtimes
from src.inference.scheduling.scheduler import FixedInterval, KeyFrameScheduler
from src.inference.streaming import Mode, StreamingSegmentor
from src.models.fusion import FusionRule
from src.models.propagator import Propagator
from src.ops.masks import MapSize

NetworkSide = int | Literal["checkpoint"] | None
"""Side of the network's input, pixels; ``checkpoint``: as evaluated; ``None``: the image's own."""


class StreamOptions(TypedDict, total=False):
    """Options of :func:`video_stream`, which has the defaults."""

    flow: str
    dis_short_side: int | None
    fusion: FusionRule
    fuse_keys: bool
    reset_at_cuts: bool
    short_side: NetworkSide
    max_long_side: NetworkSide
    map_size: MapSize
    autocast: torch.dtype | None
    compile: Compile
    runtime: RuntimeName | Runtimes


def chosen_mode(mode: Literal["auto"] | Mode, flow: str, is_live: bool) -> Mode:
    """Return a mode; ``auto`` is online for a live source, and where every frame is segmented."""
    if mode != "auto":
        return mode
    return "online" if is_live or flow in EVERY_FRAME else "offline"


def video_stream(
    propagator: Propagator,
    metadata: Mapping[str, Any],
    scheduler: KeyFrameScheduler,
    mode: Mode,
    flow: str = "auto",
    dis_short_side: int | None = 240,
    fusion: FusionRule = "photometric",
    fuse_keys: bool = True,
    reset_at_cuts: bool = False,
    short_side: NetworkSide = "checkpoint",
    max_long_side: NetworkSide = "checkpoint",
    map_size: MapSize = "image",
    autocast: torch.dtype | None = None,
    compile: Compile = False,
    runtime: RuntimeName | Runtimes = "eager",
) -> StreamingSegmentor:
    """Return the stream of a network with the flow that carries its masks. The defaults are those of ``src.predict``.

    The metadata are those of the network's checkpoint. A flow of ``EVERY_FRAME`` segments every frame, whatever the scheduler and
    ``fuse_keys``. See :func:`src.inference.flow_choice.with_flow`, :data:`NetworkSide` and :class:`StreamingSegmentor`.

    Raises:
        ValueError: if an option is unknown, out of range, or does not fit the network.
    """
    every = flow in EVERY_FRAME
    shorter, longer = (
        metadata.get(name) if side == "checkpoint" else side
        for name, side in (("short_side", short_side), ("max_long_side", max_long_side))
    )
    return StreamingSegmentor(
        with_flow(propagator, metadata, flow, dis_short_side), FixedInterval(1) if every else scheduler, shorter, longer,
        autocast, compile, map_size=map_size, mode=mode, fusion=fusion, fuse_keys=fuse_keys and not every,
        reset_at_cuts=reset_at_cuts, runtime=runtime,
    )  # fmt: skip
