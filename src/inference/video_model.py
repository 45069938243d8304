"""The model that labels a video: a plain segmentor of transformers made ready, the flow to propagate with, names and colours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from src.data.palette import distinct_palette
from src.inference.methods import METHODS, with_method
from src.models.flow import CopyFlow, DISFlow
from src.models.propagator import Propagator
from src.models.segmentors import load_segmentor
from src.visualization.palette import Color

FLOWS = ("auto", "own", *(method for method in METHODS if method != "per_frame"))


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


def with_flow(
    propagator: Propagator, metadata: Mapping[str, Any], flow: str = "auto", dis_short_side: int | None = None
) -> Propagator:
    """The same segmentor with the flow that shall propagate its masks.

    Args:
        propagator: as loaded.
        metadata: what its checkpoint says; the flow of ``stage: segmentor`` was never trained.
        flow: ``own``: the checkpoint's; ``dis``, ``copy``, ``pixel``, ``query``: see :func:`src.inference.methods.with_method`;
            ``auto``: the checkpoint's where it is a trained one, else ``dis``.
        dis_short_side: the size that DIS works at, pixels; ``None``: that of its images.

    Raises:
        ValueError: if there is no such flow, or the checkpoint has none of that kind.
    """
    if flow not in FLOWS:
        raise ValueError(f"flow is {flow!r}, expected one of {', '.join(FLOWS)}")
    if flow == "auto":
        untrained = isinstance(propagator.flow, CopyFlow) or metadata.get("stage") == "segmentor"
        flow = "dis" if untrained else "own"
    if flow == "own":
        return propagator
    if flow == "dis":
        segmentor = propagator.segmentor
        estimator = DISFlow(short_side=dis_short_side, size_divisor=segmentor.size_divisor)
        return Propagator(segmentor, estimator).to(next(segmentor.parameters()).device).eval()
    return with_method(propagator, flow)


def names_and_colours(metadata: Mapping[str, Any], num_classes: int) -> tuple[Sequence[str], Sequence[Color]]:
    """K class names and K colours: the checkpoint's, or made up where it has none.

    Raises:
        ValueError: if the checkpoint names another number of classes than it has.
    """
    classes = tuple(str(name) for name in metadata.get("classes") or (f"class {k}" for k in range(num_classes)))
    palette = [(int(r), int(g), int(b)) for r, g, b in metadata.get("palette") or distinct_palette(num_classes)]
    for name, found in (("class names", classes), ("colours", palette)):
        if len(found) != num_classes:
            raise ValueError(f"the checkpoint has {num_classes} classes but {len(found)} {name}")
    return classes, palette
