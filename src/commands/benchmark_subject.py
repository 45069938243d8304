"""Subject of a benchmark: networks, image size and machine."""

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


def chosen_size(cfg: DictConfig) -> Size | None:
    """Return (H, W) of the input by ``size``; ``None`` where it is null.

    Raises:
        ValueError: if ``size`` is not a pair of positive numbers.
    """
    if cfg.size is None:
        return None
    if len(cfg.size) != 2 or min(cfg.size) < 1:
        raise ValueError(f"size={list(cfg.size)}; expected [height, width] in pixels")
    return int(cfg.size[0]), int(cfg.size[1])


def image_size(cfg: DictConfig) -> Size:
    """Return (H, W) of the input: ``size``, else that of generated scenes, the experiment's published or the evaluation size.

    Raises:
        ValueError: if ``size`` is not a pair of positive numbers, or no size is configured.
    """
    scenes = cfg.data.get("scenes")
    size = chosen_size(cfg) or (None if scenes is None else (int(scenes.size[0]), int(scenes.size[1])))
    if size is not None:
        return size
    if cfg.name in published_models():
        return published_models()[cfg.name].size
    sides = cfg.data.eval.short_side, cfg.data.eval.max_long_side
    if None in sides:
        raise ValueError(f"data={cfg.data.name} is evaluated at the size of its images; expected size=[height,width]")
    return sides


def subject(cfg: DictConfig, size: Size) -> Row:
    """Build the first columns of every row: experiment, checkpoint and image size."""
    return {
        "experiment": cfg.name,
        "checkpoint": None if cfg.checkpoint is None else str(cfg.checkpoint),
        "input_size": f"{size[0]}x{size[1]}",
    }


def propagator_of(cfg: DictConfig, device: torch.device, flow: DictConfig | None = None) -> Propagator:
    """Build the configured networks with random weights of ``seed`` (on the meta device without weights), or load a checkpoint.

    Args:
        cfg: composed configuration of ``conf/benchmark.yaml``.
        device: device of the networks.
        flow: configuration of the flow estimator; ``None``: that of the model.

    Raises:
        ValueError: if the stage trains a clip segmentor.
    """
    if cfg.checkpoint is not None:
        return load_model(cfg.checkpoint, "cpu" if device == META else device)[0]
    if cfg.stage.name == "clips":
        raise ValueError(
            f"stage is clips (experiment {cfg.name}), of a clip segmentor without key frames; expected a stage of a propagator; "
            "choose another experiment or stage, or what=peers"
        )
    # The time of post-processing depends on the masks, so every run must have the same ones.
    torch.manual_seed(cfg.seed)
    segmentor, estimator = (_random(node, device) for node in (cfg.model.segmentor, flow or cfg.model.flow))
    propagator = Propagator(segmentor, estimator, cfg.model.warp_grid)
    return propagator if device == META else propagator.to(device)


def _random(node: DictConfig, device: torch.device) -> Any:
    weightless = {key: value for key, value in (("pretrained_backbone", False), ("weights", None)) if key in node}
    # A node with a path or hub id loads weights, which the meta device does not support.
    loads = any(str(key).startswith("path") for key in node)
    with torch.device("cpu" if loads else device):
        return instantiate(node, **weightless)


def training_precision(cfg: DictConfig, device: torch.device) -> str | None:
    """Return the dtype name of the trainer's autocast; ``None`` for float32.

    Raises:
        ValueError: if the trainer's precision is not supported.
    """
    # On CPUs Lightning replaces float16 by bfloat16.
    half = "float16" if device.type == "cuda" else "bfloat16"
    known = {"32-true": None, "bf16-mixed": "bfloat16", "16-mixed": half}
    if cfg.trainer.precision not in known:
        raise ValueError(f"trainer.precision={cfg.trainer.precision}; expected one of {', '.join(known)}")
    return known[cfg.trainer.precision]


def machine(device: torch.device, autocast: str | None) -> Row:
    """Build the last columns of every row of times, see :func:`src.measure.latency.describe_machine`."""
    row: Row = {**describe_machine(device)}
    if autocast is not None:
        row["precision"] = f"autocast {autocast}, else {row['precision']}"
    return row
