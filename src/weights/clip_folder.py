"""Model folder of a clip segmentor, from which it is rebuilt without other files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from src.files.torch_files import read_torch
from src.models.clip_segmentors.base import ClipSegmentor
from src.models.clip_segmentors.registry import CLIP_SEGMENTORS, build_clip_segmentor
from src.weights.folder_files import (
    CLIP_FORMAT,
    CONFIG_FILE,
    WEIGHTS_FILE,
    plain_json,
    read_checkpoint,
    read_config,
    read_header,
    read_weights,
    write_folder,
)
from src.weights.metadata import check_arguments
from src.weights.rebuilding import rebuild

FORMAT_VERSION = 1
CHECKPOINT_PREFIX = "segmentor."
"""Prefix of the network's tensors in a Lightning checkpoint."""

AnyClipSegmentor = ClipSegmentor[Any, Any]


def clip_config(segmentor: AnyClipSegmentor, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of ``config.json``, plain JSON values; metadata as of :func:`src.weights.model_folder.model_config`."""
    content = {"format": CLIP_FORMAT, "format_version": FORMAT_VERSION, "segmentor": segmentor.config()}
    return plain_json(content | {"metadata": dict(metadata or {})})


def save_clip_model(segmentor: AnyClipSegmentor, folder: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write and return a model folder by :func:`src.weights.folder_files.write_folder`."""
    write_folder(Path(folder), clip_config(segmentor, metadata), segmentor, (CLIP_FORMAT,))
    return Path(folder)


def load_clip_model(path: str | Path, device: str | torch.device = "cpu") -> tuple[AnyClipSegmentor, dict[str, Any]]:
    """Rebuild a trained clip segmentor in eval mode, as data: nothing in its files is executed.

    Args:
        path: model folder, the ``.safetensors`` file in it, or a Lightning checkpoint (``.ckpt``) of stage=clips.
        device: device of the model.

    Returns:
        The network and its saved metadata.

    Raises:
        FileNotFoundError: if the path, or a file of the folder, does not exist.
        ValueError: if a file is damaged or of another kind, or its tensors are not exactly those of the network.
    """
    path = Path(path)
    if path.is_file() and path.suffix != ".safetensors":
        config, tensors = read_checkpoint(path, CHECKPOINT_PREFIX)
        segmentor = rebuild(_build, config, "", lambda: tensors, tensors, path, path)
    else:
        folder, weights = (path, path / WEIGHTS_FILE) if path.suffix != ".safetensors" else (path.parent, path)
        config = read_config(folder / CONFIG_FILE)
        segmentor = rebuild(_build, config, "", lambda: read_weights(weights), read_header(weights), path, folder / CONFIG_FILE)
    return segmentor.to(device).eval(), config.get("metadata", {})


def is_clip_model(checkpoint: str | Path) -> bool:
    """Return whether a path of :func:`load_clip_model` exists and is a clip segmentor; a damaged file is a ``ValueError``."""
    path = Path(checkpoint)
    if path.is_file() and path.suffix == ".ckpt":
        content = read_torch(path)
        config = content.get("model_config") if isinstance(content, dict) else None
        return isinstance(config, dict) and config.get("format") == CLIP_FORMAT
    config_file = (path.parent if path.suffix == ".safetensors" else path) / CONFIG_FILE
    return config_file.is_file() and read_config(config_file).get("format") == CLIP_FORMAT


def _build(config: Mapping[str, Any]) -> AnyClipSegmentor:
    for name, expected in (("format", CLIP_FORMAT), ("format_version", FORMAT_VERSION)):
        if config.get(name) != expected:
            raise ValueError(f"{name} is {repr(config.get(name))[:80]}; expected {expected!r}, of a clip segmentor")
    network = config.get("segmentor")
    if not isinstance(network, Mapping):
        raise ValueError(f"segmentor is {repr(network)[:80]}; expected the config of a clip segmentor")
    kind = CLIP_SEGMENTORS.get(str(network.get("model_type")))
    if kind is not None:
        # Among others, "weights" would be read from anywhere.
        check_arguments(kind, {name: value for name, value in network.items() if name != "model_type"})
    return build_clip_segmentor(network)
