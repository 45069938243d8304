"""Construction and loading of segmentors by transformers' name of the architecture."""

import logging
from collections.abc import Mapping
from typing import Any

from src.models.segmentors.base import KeyFrameSegmentor
from src.models.segmentors.dense import DENSE_TYPES, DenseSegmentor
from src.models.segmentors.eomt import EomtSegmentor
from src.models.segmentors.eomt_dinov3 import EomtDinov3Segmentor
from src.models.segmentors.hub import use_cache_if_unreachable
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.models.segmentors.maskformer import MaskFormerSegmentor
from src.models.segmentors.oneformer import OneFormerSegmentor
from src.models.segmentors.pretrained import read_config
from src.models.segmentors.videomt import VideomtSegmentor

log = logging.getLogger(__name__)

SEGMENTORS: dict[str, type[KeyFrameSegmentor]] = {
    segmentor.model_type: segmentor
    for segmentor in (
        Mask2FormerSegmentor,
        MaskFormerSegmentor,
        OneFormerSegmentor,
        EomtSegmentor,
        EomtDinov3Segmentor,
        VideomtSegmentor,
    )
}
SEGMENTORS |= dict.fromkeys(DENSE_TYPES, DenseSegmentor)


def build_segmentor(config: Mapping[str, Any]) -> KeyFrameSegmentor:
    """Build a segmentor with random weights by :meth:`KeyFrameSegmentor.from_config`; ``model_type`` selects the class."""
    name = config.get("model_type")
    if not isinstance(name, str) or name not in SEGMENTORS:
        raise ValueError(f"model_type is {repr(name)[:80]}; expected one of {', '.join(SEGMENTORS)}")
    return SEGMENTORS[name].from_config(config)


def load_segmentor(
    path_or_id: str, num_classes: int | None = None, num_queries: int | None = None, query_dim: int | None = None
) -> KeyFrameSegmentor:
    """Load a segmentor saved by transformers; the ``model_type`` of its config.json selects the class.

    Args:
        path_or_id: local folder, or id of the Hugging Face hub such as ``facebook/mask2former-swin-tiny-ade-semantic``.
        num_classes: K; where it differs from the checkpoint's, the class head is re-initialized.
        num_queries: Q that the flow estimator is configured for, as ``query_dim``; checked.
        query_dim: width of the queries.
    """
    use_cache_if_unreachable(path_or_id)
    values = read_config(path_or_id)
    name = values.get("model_type")
    if not isinstance(name, str) or name not in SEGMENTORS:
        hint = "; load a model folder of this project by stage.init_from" if "format" in values else ""
        raise ValueError(f"{path_or_id} contains a {repr(name)[:80]} model; expected one of {', '.join(SEGMENTORS)}{hint}")
    segmentor = SEGMENTORS[name].from_pretrained(path_or_id, num_classes)
    for name, expected in (("num_queries", num_queries), ("query_dim", query_dim)):
        found = getattr(segmentor, name)
        if expected not in (None, found):
            raise ValueError(f"{path_or_id} has {name}={found}; expected {expected}; set model.segmentor.{name}={found}")
    return segmentor


def replace_class_head(segmentor: KeyFrameSegmentor, num_classes: int) -> KeyFrameSegmentor:
    """Return a copy of a segmentor with a new class head for K = ``num_classes``; log the re-initialized tensors.

    Raises:
        ValueError: if tensors outside the class head depend on the number of classes.
    """
    fresh = build_segmentor({**segmentor.config(), "num_classes": num_classes})
    weights, shapes = segmentor.state_dict(), {name: value.shape for name, value in fresh.state_dict().items()}
    loaded = {name: value for name, value in weights.items() if shapes.get(name) == value.shape}
    new = sorted(shapes.keys() - loaded.keys())
    parts = fresh.parts()
    # The class scores of a dense segmentor are those of its whole head.
    head = {id(parameter) for parameter in parts["class_head" if "class_head" in parts else "head"].parameters()}
    outside = [name for name, parameter in fresh.named_parameters() if name in new and id(parameter) not in head]
    if outside:
        raise ValueError(f"{', '.join(outside)} depend on num_classes={num_classes}; expected only the class head to")
    fresh.load_state_dict(loaded, strict=False)
    log.info("loaded %d tensors; re-initialized for %d classes: %s", len(loaded), num_classes, ", ".join(new))
    return fresh
