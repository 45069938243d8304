"""Loading of a ``checkpoint=`` argument: a model of this project, or a segmentor saved by transformers."""

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedConfig

from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.models.segmentors.dense import DenseSegmentor
from src.models.segmentors.eomt import EomtSegmentor
from src.models.segmentors.registry import load_segmentor
from src.weights.clip_folder import is_clip_model
from src.weights.folder_files import CONFIG_FILE, read_config
from src.weights.hub.download import MAIN, HubAccess, local_folder, named_as
from src.weights.model_folder import load_model

log = logging.getLogger(__name__)

DenseSize = Literal["checkpoint", "frame"]
"""checkpoint: that of the model's image processor, or as the model was saved. frame: the frame's, in multiples of 32 pixels."""


def load_checkpoint(
    checkpoint: str | Path,
    device: str | torch.device = "cpu",
    split_images: bool = False,
    dense_size: DenseSize = "checkpoint",
    access: HubAccess = MAIN,
) -> tuple[Propagator, dict[str, Any]]:
    """Load a model of this project, or a segmentor saved by transformers.

    Args:
        checkpoint: path, name of a shipped model, or id on the Hugging Face hub, with ``@<revision>`` at its end if not ``main``.
        device: device of the model.
        split_images: whether an EoMT segments images by windows; ``short_side`` of the metadata is then their side.
        dense_size: size at which a dense segmentor reads frames; ``checkpoint``: the model's.
        access: place and rights of a download from the hub.

    Returns:
        The network in eval mode and its metadata.

    Raises:
        FileNotFoundError, OSError, ValueError: if the checkpoint cannot be read or is neither; the message names it.
        ValueError: if ``split_images`` is set for a model that is no EoMT, or ``dense_size`` is ``frame`` for one with queries.
    """
    propagator, metadata = _load(checkpoint, device, access)
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


def _load(checkpoint: str | Path, device: str | torch.device, access: HubAccess) -> tuple[Propagator, dict[str, Any]]:
    path = local_folder(checkpoint, access)
    if path.parent.name == "snapshots" and not Path(checkpoint).exists():
        log.info("%s: commit %s of the hub", checkpoint, path.name[:12])
    with named_as(path, checkpoint):
        return load_transformers_model(str(path), device) if is_transformers_folder(path) else load_model(path, device)


def is_clip_checkpoint(checkpoint: str | Path) -> bool:
    """Return whether a checkpoint of :func:`load_checkpoint` is a clip segmentor instead."""
    return is_clip_model(local_folder(checkpoint))


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
