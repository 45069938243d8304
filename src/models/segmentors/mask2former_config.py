"""transformers' Mask2Former: built from plain sizes, and loaded strictly from what transformers saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from src.models.segmentors.backbones import Statistics, any_backbone
from src.models.segmentors.pretrained import load_network, plain_backbone, strict_config

FIELDS = (
    "feature_size", "mask_feature_size", "hidden_dim", "encoder_feedforward_dim", "activation_function", "encoder_layers",
    "decoder_layers", "num_attention_heads", "dropout", "dim_feedforward", "pre_norm", "enforce_input_projection",
    "common_stride", "num_queries", "feature_strides",
)  # fmt: skip
"""The sizes of a Mask2Former, in transformers' names. ``decoder_layers`` counts predictions, one more than there are layers."""


def mask2former_config(backbone: Mapping[str, Any], num_classes: int, fields: Mapping[str, Any]) -> Mask2FormerConfig:
    """Build transformers' configuration from plain values. Nothing they name is fetched or executed.

    Args:
        backbone: its ``model_type`` and sizes, see :func:`src.models.segmentors.backbones.backbone_config`.
        num_classes: K, without "no object".
        fields: some of ``FIELDS``; the others keep transformers' defaults.

    Raises:
        ValueError: if a field is unknown or of the wrong kind, or the backbone is not a known one.
    """
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise ValueError(f"unknown fields of a Mask2Former: {', '.join(unknown)}; expected {', '.join(FIELDS)}")
    return strict_config(Mask2FormerConfig, {**fields, "backbone_config": backbone, "num_labels": num_classes})


def mask2former_fields(config: Mask2FormerConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reverse of :func:`mask2former_config`: (backbone, fields), JSON-able.

    Raises:
        ValueError: if the backbone is not a known one.
    """
    values = config.to_dict()
    return plain_backbone(config), {field: values[field] for field in FIELDS}


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
    return load_network(
        path_or_id, Mask2FormerConfig, Mask2FormerForUniversalSegmentation, _rebuilt, "class_predictor.", num_classes
    )


def _rebuilt(saved: Mask2FormerConfig, num_classes: int) -> Mask2FormerConfig:
    backbone, fields = mask2former_fields(saved)
    return mask2former_config(backbone, num_classes, fields)
