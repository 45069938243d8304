"""OneFormer as a key-frame segmentor."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import OneFormerForUniversalSegmentation, PreTrainedConfig

from src.models.cpu.deformable_attention import DeformableAttention
from src.models.cpu.windowed_swin import speed_up_swin
from src.models.segmentors.backbones import Statistics
from src.models.segmentors.base import KeyFrameSegmentor, LayerPredictions, float32_under_autocast, project_in_float32
from src.ops.device import full_precision

TASK_TOKENS: dict[str, tuple[int, ...]] = {
    "semantic": (49406, 518, 10549, 533, 29119, 1550, 49407),
    "instance": (49406, 518, 10549, 533, 34572, 49407),
    "panoptic": (49406, 518, 10549, 533, 1072, 24755, 49407),
}
"""Ids of "the task is ..." in CLIP's vocabulary of 49,408 byte pairs, which every OneFormer reads; zeros follow."""


class OneFormerSegmentor(KeyFrameSegmentor):
    """OneFormer (arXiv 2211.06220), whose last query is the task; L = decoder layers + 1.

    Only its training loss reads text, so the text encoder is left out, and with it the pixel decoder's dropout, which
    transformers ties to it. In configurations ``decoder_layers`` counts predictions, one more than there are layers.

    Args:
        task: one of ``TASK_TOKENS``; the other arguments are those of :class:`KeyFrameSegmentor`.
    """

    network_class = OneFormerForUniversalSegmentation
    model_type = "oneformer"
    field_names = (
        "num_queries", "hidden_dim", "conv_dim", "mask_dim", "encoder_feedforward_dim", "dim_feedforward", "encoder_layers",
        "decoder_layers", "query_dec_layers", "num_attention_heads", "dropout", "pre_norm", "use_task_norm", "layer_norm_eps",
        "task_seq_len", "common_stride", "strides", "backbone_config",
    )  # fmt: skip
    option_names = ("task",)
    class_head_name = "model.transformer_module.decoder.class_embed."
    task_tokens: Tensor

    def __init__(self, network: OneFormerForUniversalSegmentation, task: str = "semantic", **statistics: Statistics) -> None:
        if task not in TASK_TOKENS:
            raise ValueError(f"task of a OneFormer is {task!r}; expected one of {', '.join(TASK_TOKENS)}")
        super().__init__(network, **statistics)
        self.task = task
        tokens = torch.zeros(1, network.config.task_seq_len)
        tokens[0, : len(TASK_TOKENS[task])] = torch.tensor(TASK_TOKENS[task], dtype=tokens.dtype)
        self.register_buffer("task_tokens", tokens, persistent=False)

    @classmethod
    def adapt(cls, network: OneFormerForUniversalSegmentation) -> None:
        """Install the CPU fast paths."""
        pixel_level = network.model.pixel_level_module
        speed_up_swin(pixel_level.encoder)
        project_in_float32(pixel_level.decoder)
        DeformableAttention.install(pixel_level.decoder)

    def predict_layers(self, padded: Float[Tensor, "B 3 H W"]) -> LayerPredictions:
        """Run the network; see the base class."""
        parts = self.parts()
        features = [float32_under_autocast(feature) for feature in parts["backbone"](padded).feature_maps]
        decoded = parts["pixel_decoder"](features)
        # The network reads token ids as numbers, and half precision cannot represent 49,406.
        with full_precision(padded):
            task = parts["task_encoder"](self.task_tokens.expand(len(padded), -1))
        transformer: Any = parts["transformer_decoder"]
        output = transformer(
            [float32_under_autocast(feature) for feature in decoded.multi_scale_features],
            float32_under_autocast(decoded.mask_features),
            task,
        )
        layers = output.auxiliary_predictions
        return LayerPredictions(
            [*(layer["class_queries_logits"] for layer in layers), output.prediction_class],
            [*(layer["masks_queries_logits"] for layer in layers), output.prediction_masks],
            # transformers returns the last state without the norm through which the heads read it.
            transformer.decoder.decoder_norm(output.object_queries),
        )

    def parts(self) -> dict[str, nn.Module]:
        """Return ``backbone``, ``pixel_decoder``, ``task_encoder``, ``transformer_decoder``, and the two heads inside it."""
        model = self.network.model
        return {
            "backbone": model.pixel_level_module.encoder,
            "pixel_decoder": model.pixel_level_module.decoder,
            "task_encoder": model.task_encoder,
            "transformer_decoder": model.transformer_module,
            "mask_head": model.transformer_module.decoder.mask_embed,
            "class_head": model.transformer_module.decoder.class_embed,
        }

    @classmethod
    def network_fields(cls, config: PreTrainedConfig) -> dict[str, Any]:
        """Return the fields of transformers' configuration; see the base class."""
        if config.enforce_input_proj:
            raise ValueError(
                "this OneFormer has enforce_input_proj=true; expected false, as transformers does not save its weights"
            )
        return super().network_fields(config)

    @classmethod
    def network_config(cls, fields: Mapping[str, Any], num_classes: int) -> PreTrainedConfig:
        """Build transformers' configuration; see the base class."""
        widths = {name: fields[name] for name in ("conv_dim", "mask_dim", "hidden_dim")}
        if len(set(widths.values())) > 1:
            raise ValueError(
                f"{widths} of a OneFormer: expected equal widths; transformers does not save projections between them"
            )
        config = super().network_config({**fields, "is_training": False}, num_classes)
        if config.decoder_layers < 2:
            raise ValueError(f"decoder_layers of a OneFormer is {config.decoder_layers}; expected at least 2, which is one layer")
        return config
