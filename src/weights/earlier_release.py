"""Model folders of an earlier release: settings and tensors whose names changed since."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

logger = logging.getLogger(__name__)

_RENAMED_SETTINGS = {"fill_classes": "disocclusion_classes", "fill_dim": "disocclusion_dim"}
_REMOVED_SETTINGS = ("query_dim", "segment_dim", "segment_rank")
_RENAMED_PART = ("fill.", "disocclusion.")
_REMOVED_PART = "segments."


def translate_flow(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str, path: Path | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate a saved ``correlation`` flow to today's names; anything else passes unchanged.

    The residual flow per segment of earlier releases (``segments.*``) is dropped with a warning: without it the estimator
    predicts one flow for all segments, which ``methods=[pixel]`` of that model measured.

    Args:
        config: saved configuration; its entry ``flow`` has ``name`` and ``config``.
        tensors: saved tensors by name.
        prefix: start of the names of the flow's tensors.
        path: their file or folder, for the warning; ``None``: no warning.
    """
    flow = config.get("flow")
    if not isinstance(flow, Mapping) or flow.get("name") != "correlation" or not isinstance(flow.get("config"), Mapping):
        return dict(config), dict(tensors)
    kept = {_RENAMED_SETTINGS.get(key, key): value for key, value in flow["config"].items() if key not in _REMOVED_SETTINGS}
    removed = sorted(name for name in tensors if name.startswith(prefix + _REMOVED_PART))
    if removed and path is not None:
        logger.warning("%s: dropped the residual flow per segment of an earlier release: %s", path, ", ".join(removed))
    old, new = (prefix + part for part in _RENAMED_PART)
    renamed = {
        new + name.removeprefix(old) if name.startswith(old) else name: value
        for name, value in tensors.items()
        if name not in removed
    }
    return {**config, "flow": {**flow, "config": kept}}, renamed
