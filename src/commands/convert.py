"""Conversion between published weights and ours, and of our model folders: the work of ``python -m src.convert``."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.commands.own_data import fill_num_classes
from src.files.atomic_write import atomic_path
from src.files.results.output_names import check_writable
from src.files.tables import new_path
from src.inference.evaluation.progress import heartbeat
from src.inference.flow_choice import saved_colors
from src.models.clip_segmentors.base import ClipSegmentor
from src.models.flow import CopyFlow, DISFlow, PixelFlow
from src.models.propagator import Propagator
from src.weights.clip_folder import AnyClipSegmentor, is_clip_model, load_clip_model, save_clip_model
from src.weights.folder_files import CLIP_FORMAT, CONFIG_FILE, may_replace
from src.weights.model_folder import FLOW_FORMAT, FORMAT, load_model, save_flow, save_model
from src.weights.official import load_official, to_official
from src.weights.shipped import shipped_model

log = logging.getLogger(__name__)

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
# Settings of a backbone that the log shows.
_SHOWN = ("model_type", "embed_dim", "hidden_sizes", "depths", "num_heads", "window_size")


def convert(cfg: DictConfig) -> Path:
    """Convert the weights in ``input`` of ``conf/convert.yaml``, and return the written file or folder.

    Raises:
        FileExistsError: if ``output`` exists and ``overwrite`` is not set.
        ValueError: if ``input`` is not the complete weights of a known network, or its number of classes differs from ``data``.
    """
    output = Path(cfg.output)
    if cfg.to == "official":
        new_path(cfg.output, cfg.overwrite, ".pth")
        return _write_official(Path(cfg.input), output, _DTYPES[cfg.precision])
    check_writable(output)
    replaceable = may_replace(output, (FORMAT, FLOW_FORMAT, CLIP_FORMAT)) and (
        cfg.overwrite or not (output / CONFIG_FILE).exists()
    )
    if os.path.lexists(output) and not replaceable:
        raise FileExistsError(f"{output} exists; choose another output, or a model folder and overwrite=true")
    if cfg.to != "ours" or cfg.flow not in ("copy", "dis"):
        raise ValueError(f"to={cfg.to} flow={cfg.flow}; expected to=ours or to=official, and flow=copy or flow=dis")
    with heartbeat(f"converting {cfg.input}"):
        network, source = _read(cfg)
    network.to(_DTYPES[cfg.precision])
    size = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    if isinstance(network, ClipSegmentor):
        return _write_clip_model(cfg, network, source, size)
    if not isinstance(network, Propagator):
        save_flow(network, output, source)
        log.info("%s: %s, %.3f M parameters", cfg.input, type(network).__name__, size)
        log.info("written: %s; train with it by model/flow=pretrained model.flow.path=%s", output, output)
        log.info("to start the paper's flow with its encoder, add +model/flow@model.flow.into=query")
        return output
    save_model(network, output, source | _metadata(cfg, network.segmentor.num_classes))
    segmentor = network.segmentor.config()
    backbone = {key: segmentor["backbone_config"][key] for key in _SHOWN if key in segmentor["backbone_config"]}
    log.info(
        "%s: %d classes, %d queries, %d decoder layers, backbone %s; %s, warp grid %s; %.3f M parameters",
        cfg.input, segmentor["num_classes"], segmentor["num_queries"], segmentor["decoder_layers"] - 1, backbone,
        type(network.flow).__name__, network.warp_grid, size,
    )  # fmt: skip
    log.info("written: %s", output)
    return output


def _read(cfg: DictConfig) -> tuple[Propagator | PixelFlow | AnyClipSegmentor, dict[str, Any]]:
    """Return the network of ``input`` and the metadata that it has: those of a model folder, or the name of a published file."""
    path = shipped_model(cfg.input)
    if not path.is_dir() and path.suffix not in (".safetensors", ".ckpt"):
        return load_official(path, cfg.flow), {"converted_from": path.name}
    if is_clip_model(path):
        return load_clip_model(path)
    propagator, metadata = load_model(path)
    if cfg.flow == "dis" and isinstance(propagator.flow, CopyFlow):
        propagator.flow = DISFlow(size_divisor=propagator.segmentor.size_divisor)
    return propagator, metadata


def _write_clip_model(cfg: DictConfig, network: AnyClipSegmentor, source: dict[str, Any], size: float) -> Path:
    if cfg.flow != "copy":
        raise ValueError(f"flow is {cfg.flow!r}; expected copy, the default, as a {type(network).__name__} has no flow")
    output = save_clip_model(network, cfg.output, source | _metadata(cfg, network.num_classes))
    log.info("%s: %s; %.3f M parameters", cfg.input, network.config(), size)
    log.info("written: %s", output)
    return output


def _metadata(cfg: DictConfig, num_classes: int) -> dict[str, Any]:
    if cfg.get("data") is None:
        return {}
    fill_num_classes(cfg.data)
    if cfg.data.num_classes != num_classes:
        raise ValueError(f"{cfg.input} has {num_classes} classes; expected {cfg.data.num_classes}, as in data={cfg.data.name}")
    values: dict[str, Any] = {"data": cfg.data.name}
    values |= {key: OmegaConf.select(cfg.data, f"eval.{key}") for key in ("short_side", "max_long_side")}
    try:
        dataset = instantiate(cfg.data.test)
    except InstantiationException as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        log.warning("class names and colors are left out, since the data that contains them is missing: %s", error.__cause__)
        return values
    return values | saved_colors(dataset.classes, dataset.chosen_colors)


def _write_official(source: Path, output: Path, dtype: torch.dtype) -> Path:
    propagator, _ = load_model(source)
    propagator.to(dtype)
    try:
        tensors = to_official(propagator)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    # To an open file, so that a full disk is an OSError.
    with atomic_path(output) as unfinished, unfinished.open("wb") as file:
        torch.save({"model": tensors}, file)
    log.info("written: %s, %d tensors under 'model'", output, len(tensors))
    return output
