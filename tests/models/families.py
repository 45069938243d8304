"""A small random network of each family of segmentors, built by transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    EomtConfig,
    EomtDinov3Config,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    PreTrainedModel,
    VideomtConfig,
    VideomtForUniversalSegmentation,
)

from src.models.segmentors.oneformer import TASK_TOKENS

FAMILIES = ("mask2former", "maskformer", "oneformer", "eomt", "eomt_dinov3", "videomt")
NUM_CLASSES, NUM_QUERIES = 5, 6
WIDTH = {"mask2former": 32, "maskformer": 48, "oneformer": 32, "eomt": 24, "eomt_dinov3": 24, "videomt": 24}
_SWIN = {
    "model_type": "swin", "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4, "image_size": 64,
    "drop_path_rate": 0.0, "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
_VIT: dict[str, Any] = {
    "num_labels": NUM_CLASSES, "num_queries": NUM_QUERIES, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 64, "patch_size": 16, "num_blocks": 2, "num_register_tokens": 2,
}  # fmt: skip


def network(family: str) -> PreTrainedModel:
    """Random weights, also of norms and deformable attention, whose initial values hide wrong connections."""
    made = {
        "mask2former": _mask2former,
        "maskformer": _maskformer,
        "oneformer": _oneformer,
        "eomt": lambda: EomtForUniversalSegmentation(EomtConfig(mlp_ratio=2, **_VIT)),
        "eomt_dinov3": lambda: EomtDinov3ForUniversalSegmentation(EomtDinov3Config(intermediate_size=48, **_VIT)),
        "videomt": lambda: VideomtForUniversalSegmentation(VideomtConfig(mlp_ratio=2, **_VIT)),
    }[family]()
    randomize(made)
    for name, parameter in made.named_parameters():
        # Initially all queries agree.
        if name.endswith(("queries_features.weight", "queries_embedder.weight", "query.weight")):
            nn.init.normal_(parameter, std=3.0)
        elif family == "eomt_dinov3" and parameter.ndim > 1:
            # Initially masks hardly depend on the image.
            parameter.data *= 10
    return made.eval()


def randomize(network: nn.Module) -> None:
    """Randomize norms and deformable attention, whose initial values hide wrong connections."""
    for module in network.modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    for name, parameter in network.named_parameters():
        if "sampling_offsets.weight" in name or "attention_weights.weight" in name:
            nn.init.normal_(parameter, std=0.05)


def picture(height: int = 64, width: int = 64, batch: int = 2) -> Tensor:
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)


def forward(made: PreTrainedModel, pixels: Tensor) -> Any:
    """Run transformers' forward pass on a normalized image, with all layers where available."""
    if isinstance(made, OneFormerForUniversalSegmentation):
        task = torch.zeros(1, 77, dtype=torch.long)
        task[0, :7] = torch.tensor(TASK_TOKENS["semantic"])
        return made(pixels, task_inputs=task.expand(len(pixels), -1))
    if isinstance(made, VideomtForUniversalSegmentation):
        return made(pixels[:, None])
    return made(pixels)


def _mask2former() -> PreTrainedModel:
    return Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=_SWIN,
            num_labels=NUM_CLASSES,
            num_queries=NUM_QUERIES,
            hidden_dim=32,
            feature_size=32,
            mask_feature_size=32,
            dim_feedforward=48,
            encoder_feedforward_dim=40,
            encoder_layers=1,
            decoder_layers=3,
            num_attention_heads=2,
        )
    )


def _maskformer() -> PreTrainedModel:
    decoder = {
        "model_type": "detr", "num_queries": NUM_QUERIES, "d_model": 48, "decoder_layers": 2, "decoder_ffn_dim": 40,
        "decoder_attention_heads": 2,
    }  # fmt: skip
    return MaskFormerForInstanceSegmentation(
        MaskFormerConfig(
            backbone_config=_SWIN, decoder_config=decoder, num_labels=NUM_CLASSES, fpn_feature_size=32, mask_feature_size=16
        )
    )


def _oneformer() -> PreTrainedModel:
    return OneFormerForUniversalSegmentation(
        OneFormerConfig(
            backbone_config=_SWIN,
            num_labels=NUM_CLASSES,
            num_queries=NUM_QUERIES,
            hidden_dim=32,
            conv_dim=32,
            mask_dim=32,
            dim_feedforward=48,
            encoder_feedforward_dim=40,
            encoder_layers=1,
            decoder_layers=3,
            query_dec_layers=1,
            num_attention_heads=2,
            is_training=True,
            text_encoder_width=64,
            text_encoder_num_layers=1,
            text_encoder_n_ctx=2,
            text_encoder_vocab_size=64,
        )
    )
