"""The segmentors there are, by transformers' name of the architecture."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from src.models.segmentors.base import KeyFrameSegmentor
from src.models.segmentors.eomt import EomtSegmentor
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.models.segmentors.maskformer import MaskFormerSegmentor
from src.models.segmentors.oneformer import OneFormerSegmentor
from src.models.segmentors.pretrained import saved_config

logger = logging.getLogger(__name__)

SEGMENTORS: dict[str, type[KeyFrameSegmentor]] = {
    segmentor.model_type: segmentor
    for segmentor in (Mask2FormerSegmentor, MaskFormerSegmentor, OneFormerSegmentor, EomtSegmentor)
}


def build_segmentor(config: Mapping[str, Any]) -> KeyFrameSegmentor:
    """The network that a config describes, with random weights. Nothing that it names is fetched or executed.

    Args:
        config: what :meth:`KeyFrameSegmentor.config` gave; its ``model_type`` decides.

    Raises:
        ValueError: if it names no known segmentor or does not fit it.
    """
    name = config.get("model_type")
    if name not in SEGMENTORS:
        raise ValueError(f"model_type is {name!r}, no known segmentor; known are {', '.join(SEGMENTORS)}")
    return SEGMENTORS[name].from_config(config)


def load_segmentor(
    path_or_id: str, num_classes: int | None = None, num_queries: int | None = None, query_dim: int | None = None
) -> KeyFrameSegmentor:
    """Any segmentor that transformers saved, in a local folder or on the hub; the ``model_type`` in its config.json decides.

    Args:
        path_or_id: a folder, or an id such as ``facebook/mask2former-swin-tiny-ade-semantic``.
        num_classes: K; where it differs from the checkpoint's, the class head starts anew.
        num_queries: what the flow estimator was told of its number of queries; checked.
        query_dim: what the flow estimator was told of the width of its queries; checked.

    Raises:
        ValueError: if it is no known segmentor, its weights are incomplete, or its queries are others than said.
        OSError: if it cannot be reached.
    """
    values = saved_config(path_or_id)
    name = values.get("model_type")
    if name not in SEGMENTORS:
        ours = "; it is a model folder of this project, which stage.init_from takes" if "format" in values else ""
        raise ValueError(f"{path_or_id} holds a {name!r} model; expected a segmentor of {', '.join(SEGMENTORS)}{ours}")
    segmentor = SEGMENTORS[name].from_pretrained(path_or_id, num_classes)
    for argument, said, found in (
        ("num_queries", num_queries, segmentor.num_queries),
        ("query_dim", query_dim, segmentor.query_dim),
    ):
        if said not in (None, found):
            raise ValueError(f"{path_or_id} has {argument}={found}, not {said}: set model.segmentor.{argument}={found}")
    return segmentor


def with_classes(segmentor: KeyFrameSegmentor, num_classes: int) -> KeyFrameSegmentor:
    """The same network for other classes: the class head starts anew, everything else is kept, and the log says so.

    Args:
        segmentor: trained for any classes.
        num_classes: K, without "no object".

    Raises:
        ValueError: if more of the network than its class head depends on the number of classes.
    """
    fresh = build_segmentor({**segmentor.config(), "num_classes": num_classes})
    weights, shapes = segmentor.state_dict(), {name: value.shape for name, value in fresh.state_dict().items()}
    kept = {name: value for name, value in weights.items() if shapes.get(name) == value.shape}
    anew = sorted(shapes.keys() - kept.keys())
    head = {id(parameter) for parameter in fresh.parts()["class_head"].parameters()}
    beyond = [name for name, parameter in fresh.named_parameters() if name in anew and id(parameter) not in head]
    if beyond:
        raise ValueError(f"{', '.join(beyond)} depend on the number of classes, {num_classes}; expected the class head alone to")
    fresh.load_state_dict(kept, strict=False)
    logger.info("kept %d tensors; re-initialised for %d classes: %s", len(kept), num_classes, ", ".join(anew))
    return fresh
