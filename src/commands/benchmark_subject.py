"""What a benchmark measures, as configured: the networks, the size of the image, the machine."""

from __future__ import annotations

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from src.files.tables import Row
from src.measure.latency import describe_machine
from src.measure.published import published_models
from src.models.propagator import Propagator
from src.structures import Size
from src.weights.model_folder import load_model

META = torch.device("meta")


def image_size(cfg: DictConfig) -> Size:
    """(H, W) of the image that the network sees: ``size``, or what the experiment was published with, or what the data says.

    Raises:
        ValueError: if ``size`` is no pair of positive numbers, or nothing says a size.
    """
    if cfg.size is not None:
        if len(cfg.size) != 2 or min(cfg.size) < 1:
            raise ValueError(f"size={list(cfg.size)}; expected [height, width] in pixels")
        height, width = cfg.size
        return int(height), int(width)
    if cfg.name in published_models():
        return published_models()[cfg.name].size
    sides = cfg.data.eval.short_side, cfg.data.eval.max_long_side
    if None in sides:
        raise ValueError(f"data={cfg.data.name} is evaluated at the size of its images: give size=[height,width]")
    return sides


def subject(cfg: DictConfig, size: Size) -> Row:
    """What every row begins with: the experiment, the checkpoint and the size (H, W) of the image."""
    return {
        "experiment": cfg.name,
        "checkpoint": None if cfg.checkpoint is None else str(cfg.checkpoint),
        "input_size": f"{size[0]}x{size[1]}",
    }


def propagator_of(cfg: DictConfig, device: torch.device, flow: DictConfig | None = None) -> Propagator:
    """The configured networks with random weights of ``seed`` (on the meta device: with none), or those of a checkpoint.

    Args:
        cfg: of ``conf/benchmark.yaml``.
        device: where they shall be.
        flow: configuration of the flow estimator; ``None``: that of the model.
    """
    if cfg.checkpoint is not None:
        return load_model(cfg.checkpoint, "cpu" if device == META else device)[0]
    # What post-processing takes depends on the masks, so every run shall have the same ones.
    torch.manual_seed(cfg.seed)
    segmentor, estimator = (_random(node, device) for node in (cfg.model.segmentor, flow or cfg.model.flow))
    propagator = Propagator(segmentor, estimator, cfg.model.warp_grid)
    return propagator if device == META else propagator.to(device)


def _random(node: DictConfig, device: torch.device) -> Any:
    weightless = {key: value for key, value in (("pretrained_backbone", False), ("weights", None)) if key in node}
    # A node that names a file or a hub id loads it, which the meta device cannot.
    loads = any(str(key).startswith("path") for key in node)
    with torch.device("cpu" if loads else device):
        return instantiate(node, **weightless)


def training_precision(cfg: DictConfig, device: torch.device) -> str | None:
    """Name of the trainer's precision under autocast; ``None`` for float32.

    Raises:
        ValueError: if the trainer has another one.
    """
    # On CPUs Lightning takes bfloat16 where float16 is asked for.
    half = "float16" if device.type == "cuda" else "bfloat16"
    known = {"32-true": None, "bf16-mixed": "bfloat16", "16-mixed": half}
    if cfg.trainer.precision not in known:
        raise ValueError(f"trainer.precision={cfg.trainer.precision}; expected one of {', '.join(known)}")
    return known[cfg.trainer.precision]


def machine(device: torch.device, autocast: str | None) -> Row:
    """What every row of times ends with, see :func:`src.measure.latency.describe_machine`."""
    row: Row = {**describe_machine(device)}
    if autocast is not None:
        row["precision"] = f"autocast {autocast}, else {row['precision']}"
    return row
