"""transformers' Mask2Former: built from plain sizes, and loaded strictly from what transformers saved."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, PreTrainedConfig
from transformers.utils.hub import cached_file

from src.models.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Statistics,
    any_backbone,
    backbone_config,
    backbone_fields,
)

logger = logging.getLogger(__name__)

FIELDS = (
    "feature_size", "mask_feature_size", "hidden_dim", "encoder_feedforward_dim", "activation_function", "encoder_layers",
    "decoder_layers", "num_attention_heads", "dropout", "dim_feedforward", "pre_norm", "enforce_input_projection",
    "common_stride", "num_queries", "feature_strides",
)  # fmt: skip
"""The sizes of a Mask2Former, in transformers' names. ``decoder_layers`` counts predictions, one more than there are layers."""


def mask2former_config(backbone: Mapping[str, Any], num_classes: int, fields: Mapping[str, Any]) -> Mask2FormerConfig:
    """Build transformers' configuration from plain values. Nothing they name is fetched or executed.

    Args:
        backbone: its ``model_type`` and sizes, see :func:`src.models.backbones.backbone_config`.
        num_classes: K, without "no object".
        fields: some of ``FIELDS``; the others keep transformers' defaults.

    Raises:
        ValueError: if a field is unknown or of the wrong kind, or the backbone is not a known one.
    """
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise ValueError(f"unknown fields of a Mask2Former: {', '.join(unknown)}; expected {', '.join(FIELDS)}")
    sizes = dict(backbone)
    values: dict[str, Any] = {"backbone_config": backbone_config(sizes.pop("model_type", ""), sizes), "num_labels": num_classes}
    try:
        with any_backbone():
            return Mask2FormerConfig(**values, **fields)
    except StrictDataclassError as error:
        raise ValueError(f"not a Mask2Former: {error}") from error


def mask2former_fields(config: Mask2FormerConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reverse of :func:`mask2former_config`: (backbone, fields), JSON-able.

    Raises:
        ValueError: if the backbone is not a known one.
    """
    values = config.to_dict()
    backbone = cast(PreTrainedConfig, config.backbone_config)
    fields = {field: values[field] for field in FIELDS}
    return {"model_type": backbone.model_type, **backbone_fields(backbone)}, fields


def build_mask2former(config: Mask2FormerConfig) -> Mask2FormerForUniversalSegmentation:
    """A network with random weights."""
    with any_backbone():
        return Mask2FormerForUniversalSegmentation(config)


def load_mask2former(
    path_or_id: str, num_classes: int | None = None
) -> tuple[Mask2FormerForUniversalSegmentation, Statistics, Statistics]:
    """Load what transformers saved, from safetensors or with ``weights_only``.

    Args:
        path_or_id: a local folder or a hub id.
        num_classes: K; where it differs from the checkpoint's, the class head starts anew, which the log says.

    Returns:
        The network and the mean and standard deviation of its images: those in ``preprocessor_config.json``, or ImageNet's.

    Raises:
        ValueError: if it is another architecture, or its weights are incomplete.
        OSError: if it cannot be reached.
    """
    try:
        values, _ = Mask2FormerConfig.get_config_dict(path_or_id)
        if values.get("model_type") != "mask2former":
            raise ValueError(f"{path_or_id} holds a {values.get('model_type')!r} model; expected 'mask2former'")
        with any_backbone():
            saved = Mask2FormerConfig.from_dict(values)
            saved_classes = len(saved.id2label or ())
            config = mask2former_config(*_rebuilt(saved, num_classes or saved_classes))
            # With `output_loading_info` the model comes with a report, which its annotation does not know.
            network, report = cast(
                tuple[Mask2FormerForUniversalSegmentation, dict[str, Any]],
                Mask2FormerForUniversalSegmentation.from_pretrained(
                    path_or_id, config=config, ignore_mismatched_sizes=True, output_loading_info=True, weights_only=True
                ),
            )
        mean, std = _image_statistics(path_or_id)
    except OSError as error:
        raise OSError(
            f"Mask2Former cannot be read from {path_or_id!r}: {error}\n"
            "Give a local folder with config.json and model.safetensors, or a hub id that can be reached"
        ) from error
    _check_loading(path_or_id, network, report, new_classes=num_classes not in (None, saved_classes))
    return network, mean, std


def image_statistics(values: Sequence[float], name: str) -> Statistics:
    """Three numbers, one per channel.

    Raises:
        ValueError: if there are more or fewer.
    """
    if len(values) != 3:
        raise ValueError(f"{name} has {len(values)} numbers; expected one for each of red, green and blue")
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _rebuilt(saved: Mask2FormerConfig, num_classes: int) -> tuple[dict[str, Any], int, dict[str, Any]]:
    backbone, fields = mask2former_fields(saved)
    return backbone, num_classes, fields


def _check_loading(source: str, network: nn.Module, report: Mapping[str, Any], new_classes: bool) -> None:
    """Say which tensors came from the file, and refuse a file that leaves anything but a new class head to chance."""
    missing = {key for key in report["missing_keys"] if not key.startswith("criterion.")}
    other_shape = {key for key, *_ in report["mismatched_keys"] if not key.startswith("criterion.")}
    head = {key for key in missing | other_shape if key.startswith("class_predictor.")} if new_classes else set()
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
