"""Construction of clip segmentors by name."""

from collections.abc import Mapping
from typing import Any

from src.models.clip_segmentors.base import ClipSegmentor
from src.models.clip_segmentors.mrcfa import MrcfaSegmentor

CLIP_SEGMENTORS: dict[str, type[ClipSegmentor[Any, Any]]] = {MrcfaSegmentor.model_type: MrcfaSegmentor}


def build_clip_segmentor(config: Mapping[str, Any]) -> ClipSegmentor[Any, Any]:
    """Build a clip segmentor with random weights by :meth:`ClipSegmentor.from_config`; ``model_type`` selects the class."""
    name = config.get("model_type")
    if not isinstance(name, str) or name not in CLIP_SEGMENTORS:
        raise ValueError(f"model_type is {repr(name)[:80]}; expected one of {', '.join(CLIP_SEGMENTORS)}")
    return CLIP_SEGMENTORS[name].from_config(config)
