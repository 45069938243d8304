"""Networks that transformers saved, in a folder or on the hub: loaded strictly, onto a config that is rebuilt field by field."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from src.models.segmentors.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Statistics,
    any_backbone,
    backbone_config,
    backbone_fields,
)
from src.models.segmentors.base import image_statistics

logger = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT", bound=PreTrainedConfig)
NetworkT = TypeVar("NetworkT", bound=PreTrainedModel)


def strict_config(config_class: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Build transformers' configuration from plain values. Nothing they name is fetched or executed.

    Args:
        config_class: of the architecture.
        values: its fields; ``backbone_config`` by our plain names, see :func:`src.models.segmentors.backbones.backbone_config`.

    Raises:
        ValueError: if a value is of the wrong kind, or the backbone is not a known one.
    """
    values = dict(values)
    if "backbone_config" in values:
        sizes = dict(values["backbone_config"])
        values["backbone_config"] = backbone_config(sizes.pop("model_type", ""), sizes)
    try:
        with any_backbone():
            built: ConfigT = config_class(**values)
    except StrictDataclassError as error:
        raise ValueError(f"not a {config_class.model_type} network: {error}") from error
    return built


def plain_backbone(config: PreTrainedConfig) -> dict[str, Any]:
    """The ``backbone_config`` of a network's configuration by our plain names.

    Raises:
        ValueError: if the backbone is not a known one.
    """
    backbone = cast(PreTrainedConfig, config.backbone_config)
    return {"model_type": backbone.model_type, **backbone_fields(backbone)}


def saved_config(path_or_id: str) -> dict[str, Any]:
    """The ``config.json`` of what transformers saved.

    Raises:
        OSError: if it cannot be reached; says what to do.
    """
    try:
        values, _ = PreTrainedConfig.get_config_dict(path_or_id)
    except OSError as error:
        raise _unreachable(path_or_id, error) from error
    return cast(dict[str, Any], values)


def load_network(
    path_or_id: str,
    config_class: type[ConfigT],
    network_class: type[NetworkT],
    rebuild: Callable[[ConfigT, int], ConfigT],
    class_head: str,
    num_classes: int | None = None,
) -> tuple[NetworkT, Statistics, Statistics]:
    """Load what transformers saved, from safetensors or with ``weights_only``.

    Args:
        path_or_id: a local folder or a hub id.
        config_class: of the architecture.
        network_class: of the architecture.
        rebuild: from the saved configuration and K to the one that the network is built with.
        class_head: what the names of the class head's tensors begin with.
        num_classes: K; where it differs from the checkpoint's, the class head starts anew, which the log says.

    Returns:
        The network and the mean and standard deviation of its images: those in ``preprocessor_config.json``, or ImageNet's.

    Raises:
        ValueError: if it is another architecture, or its weights are incomplete.
        OSError: if it cannot be reached.
    """
    values = saved_config(path_or_id)
    if values.get("model_type") != config_class.model_type:
        raise ValueError(f"{path_or_id} holds a {values.get('model_type')!r} model; expected {config_class.model_type!r}")
    try:
        with any_backbone(), _report_of_our_own():
            saved = config_class.from_dict(values)
            saved_classes = len(saved.id2label or ())
            config = rebuild(saved, num_classes or saved_classes)
            # With `output_loading_info` the model comes with a report, which its annotation does not know.
            network, report = cast(
                tuple[NetworkT, dict[str, Any]],
                network_class.from_pretrained(
                    path_or_id,
                    config=config,
                    dtype=torch.float32,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                    weights_only=True,
                ),
            )
        mean, std = _image_statistics(path_or_id)
    except OSError as error:
        raise _unreachable(path_or_id, error) from error
    _check_loading(path_or_id, network, report, class_head if num_classes not in (None, saved_classes) else None)
    return network, mean, std


@contextmanager
def _report_of_our_own() -> Iterator[None]:
    """Transformers' warnings are left out while it loads: it misses what only a loss needs, and advises to train; ours follow."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _unreachable(path_or_id: str, error: OSError) -> OSError:
    return OSError(
        f"no network can be read from {path_or_id!r}: {error}\n"
        "Give a local folder with config.json and model.safetensors, or a hub id that can be reached"
    )


def _check_loading(source: str, network: nn.Module, report: Mapping[str, Any], new_head: str | None) -> None:
    """Say which tensors came from the file, and refuse a file that leaves anything but a new class head to chance."""
    missing = {key for key in report["missing_keys"] if not key.startswith("criterion.")}
    other_shape = {key for key, *_ in report["mismatched_keys"] if not key.startswith("criterion.")}
    head = {key for key in missing | other_shape if key.startswith(new_head)} if new_head else set()
    if (missing | other_shape) - head:
        raise ValueError(
            f"weights in {source} are incomplete: missing {sorted(missing - head)}, of another shape {sorted(other_shape - head)}"
        )
    loaded = [key for key in network.state_dict() if key not in head and not key.startswith("criterion.")]
    logger.info(
        "%s: loaded %d tensors; re-initialised for new classes: %s; in the file but not used: %s",
        source,
        len(loaded),
        ", ".join(sorted(head)) or "none",
        ", ".join(sorted(report["unexpected_keys"])) or "none",
    )
    logger.debug("%s: loaded %s", source, ", ".join(loaded))


def _image_statistics(path_or_id: str) -> tuple[Statistics, Statistics]:
    file = cached_file(path_or_id, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    values = json.loads(Path(file).read_text()) if file else {}
    mean, std = values.get("image_mean", IMAGENET_MEAN), values.get("image_std", IMAGENET_STD)
    return image_statistics(mean, f"image_mean of {file}"), image_statistics(std, f"image_std of {file}")
