"""Configuration of a published network from the shapes of its tensors; missing tensors and impossible shapes are an error."""

import math
import re
from collections.abc import Mapping
from typing import Any

from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD

Shapes = Mapping[str, tuple[int, ...]]
"""Official name to shape."""

LEVELS = 3
"""Feature levels of the pixel decoder's deformable attention (1/8, 1/16, 1/32)."""
POINTS = 4
"""Sampling points per head and level, fixed; the number of heads follows from it."""
MOTION_HEADS = 8
"""Attention heads of the motion decoder: not visible in shapes, and fixed in the published code."""
DROP_PATH = 0.3
"""Drop path of Swin in the published recipes: not visible in shapes, and used only in further training."""

_PIXEL = "sem_seg_head.pixel_decoder."
_PREDICTOR = "sem_seg_head.predictor."
_SEGMENTOR_NEEDS = (
    f"{_PIXEL}mask_features.weight",
    f"{_PIXEL}transformer.encoder.layers.0.self_attn.attention_weights.bias",
    f"{_PIXEL}transformer.encoder.layers.0.linear1.bias",
    f"{_PREDICTOR}query_feat.weight",
    f"{_PREDICTOR}class_embed.bias",
    f"{_PREDICTOR}transformer_ffn_layers.0.linear1.bias",
)
_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def segmentor_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration of the ``Mask2FormerSegmentor`` in a detectron2 checkpoint."""
    _need(shapes, _SEGMENTOR_NEEDS, "Mask2Former")
    mask_width, width = _shape(shapes, _SEGMENTOR_NEEDS[0], 4)[:2]
    queries, hidden = _shape(shapes, f"{_PREDICTOR}query_feat.weight", 2)
    attention_rows = _shape(shapes, _SEGMENTOR_NEEDS[1], 1)[0]
    if attention_rows % (LEVELS * POINTS):
        raise ValueError(
            f"{_SEGMENTOR_NEEDS[1]} has {attention_rows} rows; expected a multiple of {LEVELS} levels times {POINTS} points"
        )
    return {
        "model_type": "mask2former",
        "num_classes": _shape(shapes, f"{_PREDICTOR}class_embed.bias", 1)[0] - 1,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
        "feature_size": width,
        "mask_feature_size": mask_width,
        "hidden_dim": hidden,
        "encoder_feedforward_dim": _shape(shapes, _SEGMENTOR_NEEDS[2], 1)[0],
        "activation_function": "relu",
        "encoder_layers": _count(shapes, f"{_PIXEL}transformer.encoder.layers."),
        # transformers counts predictions, one more than there are layers.
        "decoder_layers": _count(shapes, f"{_PREDICTOR}transformer_ffn_layers.") + 1,
        "num_attention_heads": attention_rows // (LEVELS * POINTS),
        "dropout": 0.0,
        "dim_feedforward": _shape(shapes, f"{_PREDICTOR}transformer_ffn_layers.0.linear1.bias", 1)[0],
        "pre_norm": False,
        # Between different widths there is always a projection.
        "enforce_input_projection": width == hidden and f"{_PREDICTOR}input_proj.0.weight" in shapes,
        "common_stride": 4,
        "num_queries": queries,
        "feature_strides": [4, 8, 16, 32],
        "backbone_config": _swin(shapes) if "backbone.patch_embed.proj.weight" in shapes else _resnet(shapes),
    }


def query_flow_config(shapes: Shapes) -> dict[str, Any]:
    """Return the ``QueryFlow`` arguments of the published motion module; names are without the prefix of whole models."""
    sizes = ("query_embed.weight", "transformer_ffn_layers.0.linear1.bias", "output_head.layers.0.bias")
    needs = [f"decoder.{name}" for name in sizes]
    _need(shapes, needs, "query flow")
    queries, hidden = _shape(shapes, needs[0], 2)
    return {
        "query_dim": hidden,
        "num_queries": queries,
        "encoder_channels": _encoder_channels(shapes, "encoder."),
        "hidden_dim": hidden,
        "num_heads": MOTION_HEADS,
        "ffn_dim": _shape(shapes, needs[1], 1)[0],
        "decoder_layers": _count(shapes, "decoder.transformer_ffn_layers."),
        "refine_channels": _refine_channels(shapes, "decoder."),
        "mlp_dim": _shape(shapes, needs[2], 1)[0],
    }


def pixel_flow_config(shapes: Shapes) -> dict[str, Any]:
    """Return the ``PixelFlow`` arguments of mmtracking's ``FlowNetSimple``."""
    return {"encoder_channels": _encoder_channels(shapes, ""), "refine_channels": _refine_channels(shapes, "")}


def _swin(shapes: Shapes) -> dict[str, Any]:
    first = "backbone.layers.0.blocks.0."
    stages = len(_STAGES)
    tables = [f"backbone.layers.{stage}.blocks.0.attn.relative_position_bias_table" for stage in range(stages)]
    _need(shapes, (f"{first}mlp.fc1.bias", *tables), "Swin backbone")
    width, channels, patch_size = _shape(shapes, "backbone.patch_embed.proj.weight", 4)[:3]
    # The table has one row per offset within a window of w x w: (2w - 1) x (2w - 1).
    rows = _shape(shapes, tables[0], 2)[0]
    window = (math.isqrt(rows) + 1) // 2
    if (2 * window - 1) ** 2 != rows:
        raise ValueError(f"{tables[0]} has {rows} rows; expected (2w - 1)^2 of a window of w x w")
    return {
        "model_type": "swin",
        "image_size": 32 * window,
        "patch_size": patch_size,
        "num_channels": channels,
        "embed_dim": width,
        "depths": [_count(shapes, f"backbone.layers.{stage}.blocks.") for stage in range(stages)],
        "num_heads": [_shape(shapes, name, 2)[1] for name in tables],
        "window_size": window,
        "mlp_ratio": _shape(shapes, f"{first}mlp.fc1.bias", 1)[0] / width,
        "qkv_bias": f"{first}attn.qkv.bias" in shapes,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": DROP_PATH,
        "hidden_act": "gelu",
        "use_absolute_embeddings": False,
        "layer_norm_eps": 1e-5,
        "out_features": _STAGES,
    }


def _resnet(shapes: Shapes) -> dict[str, Any]:
    stem = "backbone.stem.conv1.weight"
    ends = [f"backbone.res{stage}.0.conv3.weight" for stage in range(2, 6)]
    _need(shapes, (stem, *ends), "ResNet backbone (or `backbone.patch_embed.proj.weight` of a Swin)")
    width, channels = _shape(shapes, stem, 4)[:2]
    return {
        "model_type": "resnet",
        "num_channels": channels,
        "embedding_size": width,
        "hidden_sizes": [_shape(shapes, name, 4)[0] for name in ends],
        "depths": [_count(shapes, f"backbone.res{stage}.") for stage in range(2, 6)],
        "layer_type": "bottleneck",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        # The published models have their stride in the 3x3 convolution (STRIDE_IN_1X1: False); not visible in shapes.
        "downsample_in_bottleneck": False,
        "out_features": _STAGES,
    }


def _encoder_channels(shapes: Shapes, prefix: str) -> list[int]:
    names = [f"{prefix}conv{stage}.0.conv.bias" for stage in range(1, 7)]
    _need(shapes, names, "FlowNetS encoder")
    return [_shape(shapes, name, 1)[0] for name in names]


def _refine_channels(shapes: Shapes, prefix: str) -> list[int]:
    names = [f"{prefix}deconv{number}.conv.weight" for number in (5, 4, 3, 2)]
    _need(shapes, names, "FlowNetS refinement")
    return [_shape(shapes, name, 4)[1] for name in names]


def _need(shapes: Shapes, names: tuple[str, ...] | list[str], what: str) -> None:
    missing = [name for name in names if name not in shapes]
    if missing:
        raise ValueError(f"not a {what}: missing {', '.join(missing)}")


def _shape(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    shape = shapes[name]
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"{name} is {shape}; expected {dimensions} dimensions, none of them 0")
    return shape


def _count(shapes: Shapes, prefix: str) -> int:
    """Count the different numbers after a prefix; a gap in them is found later, when names are compared."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    return len({found[1] for name in shapes if (found := pattern.match(name))})
