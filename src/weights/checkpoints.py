"""A model by its name on the command line: one of this project, or a segmentor that transformers saved."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.models.segmentors.registry import load_segmentor
from src.weights.model_folder import load_model

log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_checkpoint(checkpoint: str | Path, device: str | torch.device = "cpu") -> tuple[Propagator, dict[str, Any]]:
    """A model of this project, or a segmentor that transformers saved.

    Args:
        checkpoint: a path, or an id of the hub.
        device: where the model goes.

    Returns:
        The network in eval mode and its metadata.

    Raises:
        FileNotFoundError, OSError, ValueError: if it cannot be read or is neither; names it.
    """
    path = Path(checkpoint)
    if path.exists():
        return load_transformers_model(str(path), device) if is_transformers_folder(path) else load_model(path, device)
    if not _HUB_ID.fullmatch(str(checkpoint)) or path.suffix in (".ckpt", ".safetensors"):
        raise FileNotFoundError(f"no model at {checkpoint}: expected a model folder, a .safetensors or .ckpt file, or a hub id")
    log.info("%s is no folder here; asking the hub for it", checkpoint)
    return load_transformers_model(str(checkpoint), device)


def is_transformers_folder(path: Path) -> bool:
    """Whether transformers saved a model there: its config names a ``model_type``, and ours does not.

    Raises:
        ValueError: if there is a config that cannot be read.
    """
    config = path / "config.json"
    if not config.is_file():
        return False
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{config} is not valid JSON: {error}") from error
    return isinstance(values, dict) and "model_type" in values and "format" not in values


def load_transformers_model(path_or_id: str, device: str | torch.device = "cpu") -> tuple[Propagator, dict[str, Any]]:
    """A segmentor that transformers saved, without any motion yet, and the class names that it brings.

    Args:
        path_or_id: local folder, or id on the hub.
        device: where the model goes.

    Returns:
        The network in eval mode and its metadata, as :func:`src.weights.model_folder.load_model` gives them.

    Raises:
        ValueError: if it is another architecture, or its weights are incomplete.
        OSError: if it cannot be reached.
    """
    segmentor = load_segmentor(path_or_id)
    values, _ = PreTrainedConfig.get_config_dict(path_or_id)
    names = {int(number): str(name) for number, name in (values.get("id2label") or {}).items()}
    metadata: dict[str, Any] = {}
    if sorted(names) == list(range(segmentor.num_classes)):
        metadata["classes"] = [names[k] for k in range(segmentor.num_classes)]
    return Propagator(segmentor, CopyFlow(segmentor.size_divisor)).to(device).eval(), metadata
