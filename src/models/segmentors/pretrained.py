"""Strict loading of networks saved by transformers, in a local folder or on the Hugging Face hub."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics

log = logging.getLogger(__name__)


def read_config(path_or_id: str) -> dict[str, Any]:
    """Read the ``config.json`` that transformers saved."""
    try:
        values, _ = PreTrainedConfig.get_config_dict(path_or_id)
    except OSError as error:
        raise _unreachable(path_or_id, error) from error
    return cast(dict[str, Any], values)


def load_network(
    path_or_id: str,
    network_class: type[PreTrainedModel],
    rebuild: Callable[[PreTrainedConfig, int], PreTrainedConfig],
    class_head: str,
    num_classes: int | None = None,
) -> tuple[PreTrainedModel, Statistics, Statistics]:
    """Load a network saved by transformers, from safetensors or with ``weights_only``; log which tensors were loaded.

    Args:
        path_or_id: local folder or hub id.
        network_class: class of the architecture.
        rebuild: function of the saved configuration and K; returns the configuration of the network to build.
        class_head: prefix of the class head's tensors.
        num_classes: K; where it differs from the checkpoint's, the class head is re-initialized.

    Returns:
        The network, and the image mean and standard deviation of its ``preprocessor_config.json``, by default ImageNet's.

    Raises:
        ValueError: if the architecture is another one, or weights are missing.
        OSError: if it cannot be read.
    """
    values, config_class = read_config(path_or_id), cast(type[PreTrainedConfig], network_class.config_class)
    if values.get("model_type") != config_class.model_type:
        raise ValueError(f"{path_or_id} contains a {values.get('model_type')!r} model; expected {config_class.model_type!r}")
    try:
        with _without_transformers_warnings():
            saved = config_class.from_dict(values)
            saved_classes = len(saved.id2label or ())
            config = rebuild(saved, num_classes or saved_classes)
            # The annotation lacks the report that `output_loading_info` adds.
            network, report = cast(
                tuple[PreTrainedModel, dict[str, Any]],
                network_class.from_pretrained(
                    path_or_id,
                    config=config,
                    dtype=torch.float32,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                    weights_only=True,
                ),
            )
        mean, std = _saved_statistics(path_or_id)
    except OSError as error:
        raise _unreachable(path_or_id, error) from error
    _check_loading(path_or_id, network, report, class_head if num_classes not in (None, saved_classes) else None)
    return network, mean, std


@contextmanager
def _without_transformers_warnings() -> Iterator[None]:
    """Silence transformers' report of missing tensors: it lists those of the deleted loss; ``_check_loading`` reports instead."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _unreachable(path_or_id: str, error: OSError) -> OSError:
    return OSError(
        f"cannot read a network from {path_or_id!r}: {error}\n"
        "Give a local folder with config.json and model.safetensors, or a hub id that can be reached"
    )


def _check_loading(source: str, network: nn.Module, report: Mapping[str, Any], new_head: str | None) -> None:
    """Log which tensors were loaded; raise if one that is not in a new class head is missing or of another shape."""
    missing = {key for key in report["missing_keys"] if not key.startswith("criterion.")}
    other_shape = {key for key, *_ in report["mismatched_keys"] if not key.startswith("criterion.")}
    head = {key for key in missing | other_shape if key.startswith(new_head)} if new_head else set()
    if (missing | other_shape) - head:
        raise ValueError(
            f"weights in {source} are incomplete: missing {sorted(missing - head)}, of another shape {sorted(other_shape - head)}"
        )
    loaded = [key for key in network.state_dict() if key not in head and not key.startswith("criterion.")]
    log.info(
        "%s: loaded %d tensors; re-initialized for new classes: %s; unused in the file: %s",
        source,
        len(loaded),
        ", ".join(sorted(head)) or "none",
        ", ".join(sorted(report["unexpected_keys"])) or "none",
    )
    log.debug("%s: loaded %s", source, ", ".join(loaded))


def image_statistics(values: Sequence[float], name: str) -> Statistics:
    """Return one number per RGB channel."""
    if len(values) != 3:
        raise ValueError(f"{name} has {len(values)} numbers; expected one for each of red, green and blue")
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _saved_statistics(path_or_id: str) -> tuple[Statistics, Statistics]:
    file = cached_file(path_or_id, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    values = json.loads(Path(file).read_text()) if file else {}
    mean, std = values.get("image_mean", IMAGENET_MEAN), values.get("image_std", IMAGENET_STD)
    return image_statistics(mean, f"image_mean of {file}"), image_statistics(std, f"image_std of {file}")
