"""Small networks of the published kind, and the tensors that the published code would save of them."""

from __future__ import annotations

import torch
from torch import Tensor

from src.models.flow import QueryFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.weights.official import to_official

SWIN = {
    "model_type": "swin", "image_size": 128, "patch_size": 4, "num_channels": 3, "embed_dim": 16, "depths": [1, 2, 1, 1],
    "num_heads": [1, 1, 2, 4], "window_size": 4, "mlp_ratio": 2.0, "qkv_bias": True, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0, "drop_path_rate": 0.3, "hidden_act": "gelu", "use_absolute_embeddings": False,
    "layer_norm_eps": 1e-05, "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
RESNET = {
    "model_type": "resnet", "num_channels": 3, "embedding_size": 8, "hidden_sizes": [16, 24, 32, 40], "depths": [2, 1, 1, 1],
    "layer_type": "bottleneck", "hidden_act": "relu", "downsample_in_first_stage": False, "downsample_in_bottleneck": False,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
BACKBONES = {"swin": SWIN, "resnet": RESNET}


def small_config(backbone: str, **changes: object) -> dict[str, object]:
    """The config of a small segmentor of 32 channels, 4 heads, 2 + 3 layers, 5 classes and 6 queries."""
    return {
        "model_type": "mask2former", "num_classes": 5, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
        "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 48,
        "activation_function": "relu", "encoder_layers": 2, "decoder_layers": 4, "num_attention_heads": 4, "dropout": 0.0,
        "dim_feedforward": 40, "pre_norm": False, "enforce_input_projection": False, "common_stride": 4, "num_queries": 6,
        "feature_strides": [4, 8, 16, 32], "backbone_config": BACKBONES[backbone], **changes,
    }  # fmt: skip


def small_flow(**changes: object) -> QueryFlow:
    sizes = {
        "query_dim": 32, "num_queries": 6, "encoder_channels": [8, 8, 16, 16, 16, 24], "hidden_dim": 32, "num_heads": 8,
        "ffn_dim": 40, "decoder_layers": 2, "refine_channels": [8, 6, 4, 2], "mlp_dim": 16,
    }  # fmt: skip
    return QueryFlow(**{**sizes, **changes})  # type: ignore[arg-type]


def small_mpvss(backbone: str = "swin") -> Propagator:
    """Noise on every weight and buffer, so that no two tensors agree by accident."""
    propagator = Propagator(Mask2FormerSegmentor.from_config(small_config(backbone)), small_flow(), "reference").eval()
    for name, tensor in propagator.state_dict().items():
        if tensor.is_floating_point():
            noise = 0.1 * torch.randn(tensor.shape)
            tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return propagator


def small_official(backbone: str = "swin") -> dict[str, Tensor]:
    return {name: value.clone() for name, value in to_official(small_mpvss(backbone)).items()}
