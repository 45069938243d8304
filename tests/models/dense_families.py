"""A small random network of each family of dense segmentors, built by transformers, with its image processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from tests.models.families import randomize

NUM_CLASSES = 5
SIDE = 64
_VIT = {
    "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32, "image_size": SIDE,
    "patch_size": 16,
}  # fmt: skip
_BEIT = {**_VIT, "use_relative_position_bias": True, "auxiliary_channels": 8, "pool_scales": [1, 2]}
_ASPP = {"image_size": SIDE, "output_stride": 16, "aspp_out_channels": 8, "atrous_rates": [1, 2, 3]}
_RESNET = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 12, 16], "depths": [1, 1, 1, 1], "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
_TIPS = {
    "model_type": "tipsv2_vision_model", "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56,
    "patch_size": 14, "out_indices": [1, 2, 3, 4], "apply_layernorm": True, "reshape_hidden_states": False,
}  # fmt: skip
_SAPIENS = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_attention_heads": 1, "num_first_full_attention_layers": 1, "num_last_full_attention_layers": 1,
    "num_register_tokens": 1, "image_size": [SIDE, 48],
    "head_config": {"upsample_out_channels": [8, 8], "conv_out_channels": [8]},
}  # fmt: skip
_SQUARE = {"height": SIDE, "width": SIDE}

FAMILIES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "segformer": (
        {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16},
        "SegformerImageProcessor", {"size": _SQUARE, "do_reduce_labels": True},
    ),
    "upernet": (
        {"backbone_config": _RESNET, "hidden_size": 8, "pool_scales": [1, 2], "auxiliary_in_channels": 12},
        "SegformerImageProcessor", {"size": _SQUARE},
    ),
    "dpt": (
        {**_VIT, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 8},
        "DPTImageProcessor", {"size": _SQUARE, "ensure_multiple_of": 16},
    ),
    "beit": ({**_BEIT, "out_indices": [1, 2, 3, 4]}, "BeitImageProcessor", {"size": _SQUARE, "do_center_crop": False}),
    "data2vec-vision": ({**_BEIT, "out_indices": [0, 1, 2, 3]}, "BeitImageProcessor", {"size": _SQUARE, "do_center_crop": False}),
    "mobilevit": (
        {**_ASPP, "hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 16], "num_attention_heads": 2},
        "MobileViTImageProcessor", {"size": {"shortest_edge": SIDE}, "do_center_crop": False},
    ),
    "mobilevitv2": (
        {**_ASPP, "width_multiplier": 0.25, "n_attn_blocks": [1, 1, 1], "base_attn_unit_dims": [32, 32, 32]},
        "MobileViTImageProcessor", {"size": {"shortest_edge": SIDE}, "do_center_crop": False},
    ),
    "tipsv2_dpt": (
        {"backbone_config": _TIPS, "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 8},
        "Tipsv2DptImageProcessor", {"size": {"height": 56, "width": 56}},
    ),
    "sapiens2": (_SAPIENS, "Sapiens2ImageProcessor", {"size": {"height": SIDE, "width": 48}}),
    "mobilenet_v2": (
        {"image_size": SIDE, "depth_multiplier": 0.25, "output_stride": 16},
        "MobileNetV2ImageProcessor", {"size": {"shortest_edge": SIDE}, "do_center_crop": False},
    ),
}  # fmt: skip
"""Configuration of the network, class of its image processor, and the processor's settings."""


def build(family: str, num_classes: int = NUM_CLASSES) -> PreTrainedModel:
    """Build a network with random weights, also of norms, whose initial values hide wrong connections."""
    fields, *_ = FAMILIES[family]
    config = transformers.CONFIG_MAPPING[family](**fields, num_labels=num_classes)
    network: PreTrainedModel = getattr(transformers, MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[family])(config)
    randomize(network)
    for value in network.parameters():
        # Initially one class wins everywhere.
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=2 / value[0].numel() ** 0.5)
    return network.eval()


def processor(family: str) -> Any:
    """Build the image processor of a family."""
    _, name, settings = FAMILIES[family]
    return getattr(transformers, name)(**settings)


def save(folder: Path, family: str = "segformer", num_classes: int = NUM_CLASSES) -> Path:
    """Write what transformers' ``save_pretrained`` of the model and of the image processor writes."""
    network = build(family, num_classes)
    network.config.id2label = {number: f"thing {number}" for number in range(num_classes)}
    network.config.label2id = {name: number for number, name in network.config.id2label.items()}
    network.save_pretrained(folder)
    processor(family).save_pretrained(folder)
    return folder
