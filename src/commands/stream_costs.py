"""Costs of the frames of a stream, for budgets and reports."""

import logging
import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.inference.cost_probe import measure_ms
from src.inference.evaluation.fusing import Fusing
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import StreamingSegmentor
from src.inference.video.live.address import is_address, masked
from src.inference.video.predictor import VideoPredictor
from src.inference.video.quality.report import About
from src.inference.video.sources import FrameSource, first_image
from src.measure.cost import frame_cost
from src.ops.resize import short_side_size
from src.structures import Size

log = logging.getLogger(__name__)


def at_budget(budget: Budget, stream: StreamingSegmentor, source: FrameSource) -> StreamingSegmentor:
    """Return the stream at a budget with the costs of a source's frames; unchanged for a source without a frame."""
    first = first_image(source)
    if first is None:
        return stream
    if budget.unit == "ms":
        costs = measure_ms(stream, first[None])
    else:
        size = _network_size(stream, (first.shape[-2], first.shape[-1]))
        signal = budget.signal_gflops(size)
        costs = StepCosts(*(cost + signal for cost in _gflops(stream, size)))
    budget = budget.with_costs(costs)
    log.info(
        "a key frame costs %.4g %s, a non-key frame %.4g: a budget of %.4g per frame allows a key frame every %.1f frames",
        costs.key, "ms" if budget.unit == "ms" else "GFLOPs", costs.nonkey, budget.per_frame, budget.key_interval,
    )  # fmt: skip
    return stream.with_scheduler(budget)


def frame_gflops(stream: StreamingSegmentor, size: Size) -> tuple[float, float]:
    """Count the GFLOPs of key and of non-key frames of (H, W) within a scene, without the signal of the scheduler."""
    return _gflops(stream, _network_size(stream, size))


def with_facts(predictor: VideoPredictor, cfg: DictConfig, settings: Mapping[str, Any]) -> VideoPredictor:
    """Return the predictor with the facts of its reports."""
    stream = predictor.stream
    gflops = partial(frame_gflops, stream) if isinstance(stream, StreamingSegmentor) else None
    return replace(predictor, about=About(str(cfg.checkpoint), _command(str(cfg.input)), settings, gflops))


def _network_size(stream: StreamingSegmentor, size: Size) -> Size:
    return short_side_size(size, stream.short_side, stream.max_long_side)


def _gflops(stream: StreamingSegmentor, size: Size) -> tuple[float, float]:
    cost = frame_cost(stream.propagator, size, [stream.fusion])
    kinds = Fusing(stream.mode, stream.fusion, stream.fuse_keys).kinds
    key, nonkey = (cost.frame(kind.is_key, kind.flows, stream.fusion, kind.sources) for kind in kinds)
    return key, nonkey


def _command(source: str) -> str:
    """Return the command of this process as typed in a shell; empty where the configuration was composed without one.

    The credentials of an address that is the input are left out.
    """
    if not HydraConfig.initialized():
        return ""
    options = list(HydraConfig.get().overrides.task)
    if is_address(source):
        options = [f"input={masked(source)}" if one.lstrip("+").startswith("input=") else one for one in options]
    return shlex.join(["python", "-m", "src.predict", *options])
