"""Loading of a ``checkpoint=`` argument: a model of this project, or a segmentor saved by transformers."""

import logging
import re
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedConfig

from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.models.segmentors.dense import DenseSegmentor
from src.models.segmentors.eomt import EomtSegmentor
from src.models.segmentors.registry import load_segmentor
from src.weights.folder_files import CONFIG_FILE, read_config
from src.weights.model_folder import load_model
from src.weights.shipped import SHIPPED_MODELS, shipped_model

log = logging.getLogger(__name__)

DenseSize = Literal["checkpoint", "frame"]
"""checkpoint: that of the model's image processor, or as the model was saved. frame: the frame's, in multiples of 32 pixels."""

_OWN_FOLDERS = (("outputs",), ("data",), ("models",), ("checkpoints",), ("weights",), ("runs",))
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_checkpoint(
    checkpoint: str | Path,
    device: str | torch.device = "cpu",
    split_images: bool = False,
    dense_size: DenseSize = "checkpoint",
) -> tuple[Propagator, dict[str, Any]]:
    """Load a model of this project, or a segmentor saved by transformers.

    Args:
        checkpoint: path, name of a shipped model, or id on the Hugging Face hub.
        device: device of the model.
        split_images: whether an EoMT segments images by windows; ``short_side`` of the metadata is then their side.
        dense_size: size at which a dense segmentor reads frames; ``checkpoint``: the model's.

    Returns:
        The network in eval mode and its metadata.

    Raises:
        FileNotFoundError, OSError, ValueError: if the checkpoint cannot be read or is neither; the message names it.
        ValueError: if ``split_images`` is set for a model that is no EoMT, or ``dense_size`` is ``frame`` for one with queries.
    """
    propagator, metadata = _load(checkpoint, device)
    if split_images:
        segmentor = propagator.segmentor
        if not isinstance(segmentor, EomtSegmentor):
            raise ValueError(f"split_images is set for a {type(segmentor).__name__}; expected an EoMT or EoMT-DINOv3")
        segmentor.split_images()
        metadata = {**metadata, "short_side": segmentor.network.config.image_size, "max_long_side": None}
    if dense_size == "frame":
        if not isinstance(propagator.segmentor, DenseSegmentor):
            raise ValueError(
                f"dense_size is frame, and {checkpoint} has a {type(propagator.segmentor).__name__}; expected a dense model such "
                "as SegFormer; use short_side to choose the size of others"
            )
        propagator.segmentor.size_rule = "frame"
    return propagator, metadata


def _load(checkpoint: str | Path, device: str | torch.device) -> tuple[Propagator, dict[str, Any]]:
    path = shipped_model(checkpoint)
    if path.exists():
        return load_transformers_model(str(path), device) if is_transformers_folder(path) else load_model(path, device)
    # An owner on the hub never has the name of a folder here, nor of those that this project writes.
    is_local = path.is_symlink() or path.parent.exists() or path.parts[:1] in _OWN_FOLDERS
    if is_local or not _HUB_ID.fullmatch(str(checkpoint)) or path.suffix in (".ckpt", ".safetensors"):
        found = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(
            f"{checkpoint} {found}; expected a model folder, a .safetensors or .ckpt file, a hub id, "
            f"or {', '.join(SHIPPED_MODELS)}"
        )
    log.info("%s is not a local folder; loading it from the hub", checkpoint)
    return load_transformers_model(str(checkpoint), device)


def is_transformers_folder(path: Path) -> bool:
    """Return whether a folder was saved by transformers: its config has a ``model_type``, and ours has a ``format``."""
    config = path / CONFIG_FILE
    if not config.is_file():
        return False
    values = read_config(config)
    return "model_type" in values and "format" not in values


def load_transformers_model(path_or_id: str, device: str | torch.device = "cpu") -> tuple[Propagator, dict[str, Any]]:
    """Load a segmentor saved by transformers (local folder, or id on the hub) with a flow that copies masks.

    Returns:
        The network in eval mode, and its class names as metadata.

    Raises:
        ValueError: if the architecture is another one, or the weights are incomplete.
        OSError: if the hub cannot be reached.
    """
    segmentor = load_segmentor(path_or_id)
    # Checked by load_segmentor.
    values, _ = PreTrainedConfig.get_config_dict(path_or_id)
    names = {int(number): str(name) for number, name in (values.get("id2label") or {}).items()}
    metadata: dict[str, Any] = {}
    if sorted(names) == list(range(segmentor.num_classes)):
        metadata["classes"] = [names[k] for k in range(segmentor.num_classes)]
    return Propagator(segmentor, CopyFlow(segmentor.size_divisor)).to(device).eval(), metadata
