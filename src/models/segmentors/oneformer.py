"""OneFormer as a segmentor of key frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Num
from torch import Tensor, nn
from transformers import OneFormerConfig, OneFormerForUniversalSegmentation

from src.models.cpu.deformable_attention import DeformableAttention
from src.models.cpu.windowed_swin import speed_up_swin
from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics
from src.models.segmentors.base import KeyFrameSegmentor, in_full_precision, keep_projections_precise
from src.models.segmentors.pretrained import load_network, plain_backbone, strict_config
from src.ops.precision import full_precision
from src.structures import MaskPrediction

FIELDS = (
    "num_queries", "hidden_dim", "conv_dim", "mask_dim", "encoder_feedforward_dim", "dim_feedforward", "encoder_layers",
    "decoder_layers", "query_dec_layers", "num_attention_heads", "dropout", "pre_norm", "use_task_norm", "layer_norm_eps",
    "task_seq_len", "common_stride", "strides",
)  # fmt: skip
"""The sizes of a OneFormer, in transformers' names. ``decoder_layers`` counts predictions, one more than there are layers."""

TASK_TOKENS: dict[str, tuple[int, ...]] = {
    "semantic": (49406, 518, 10549, 533, 29119, 1550, 49407),
    "instance": (49406, 518, 10549, 533, 34572, 49407),
    "panoptic": (49406, 518, 10549, 533, 1072, 24755, 49407),
}
"""Ids of "the task is ..." in CLIP's vocabulary of 49,408 byte pairs, which every OneFormer reads; zeros follow."""


class OneFormerSegmentor(KeyFrameSegmentor):
    """OneFormer (arXiv 2211.06220); the last of its queries is the task's own.

    Text is read for its own loss only, so the text encoder is left out, and with it the pixel decoder's dropout, which
    transformers ties to it.

    Args:
        network: transformers' model.
        image_mean: per channel, for pixels in 0..1.
        image_std: per channel, for pixels in 0..1.
        task: what it is asked for, one of ``TASK_TOKENS``.

    Raises:
        ValueError: if the task is not a known one.
    """

    model_type = "oneformer"
    task_tokens: Tensor

    def __init__(
        self,
        network: OneFormerForUniversalSegmentation,
        image_mean: Statistics = IMAGENET_MEAN,
        image_std: Statistics = IMAGENET_STD,
        task: str = "semantic",
    ) -> None:
        if task not in TASK_TOKENS:
            raise ValueError(f"unknown task {task!r}; expected one of {', '.join(TASK_TOKENS)}")
        speed_up_swin(network.model.pixel_level_module.encoder)
        pixel_decoder = network.model.pixel_level_module.decoder
        keep_projections_precise(pixel_decoder)
        DeformableAttention.install(pixel_decoder)
        classes = network.model.transformer_module.decoder.class_embed.out_features - 1
        super().__init__(network, classes, network.config.num_queries, network.config.hidden_dim, image_mean, image_std)
        self.task = task
        tokens = torch.zeros(1, network.config.task_seq_len)
        tokens[0, : len(TASK_TOKENS[task])] = torch.tensor(TASK_TOKENS[task], dtype=tokens.dtype)
        self.register_buffer("task_tokens", tokens, persistent=False)

    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an image; see :meth:`KeyFrameSegmentor.forward`. L = decoder layers + 1; h, w = 1/4 of the padded image."""
        padded, size = self.normalised(image)
        parts = self.parts()
        features = [in_full_precision(feature) for feature in parts["backbone"](padded).feature_maps]
        decoded = parts["pixel_decoder"](features)
        # The token ids are numbers to this network, and half precision has none of 49,406.
        with full_precision(padded):
            task = parts["task_encoder"](self.task_tokens.expand(len(image), -1))
        transformer: Any = parts["transformer_decoder"]
        output = transformer(
            [in_full_precision(feature) for feature in decoded.multi_scale_features],
            in_full_precision(decoded.mask_features),
            task,
        )
        layers = output.auxiliary_predictions
        classes = [*(layer["class_queries_logits"] for layer in layers), output.prediction_class]
        masks = [*(layer["masks_queries_logits"] for layer in layers), output.prediction_masks]
        return MaskPrediction(
            class_logits_per_layer=torch.stack([logits.float() for logits in classes]),
            mask_logits_per_layer=torch.stack([logits.float() for logits in masks]),
            # transformers hands out the last state without the norm that the heads read it through.
            queries=transformer.decoder.decoder_norm(output.object_queries).float(),
            image_size=size,
            padded_size=(padded.shape[-2], padded.shape[-1]),
        )

    def parts(self) -> dict[str, nn.Module]:
        """``backbone``, ``pixel_decoder``, ``task_encoder``, ``transformer_decoder`` and, inside the last, the two heads."""
        model = self.network.model
        return {
            "backbone": model.pixel_level_module.encoder,
            "pixel_decoder": model.pixel_level_module.decoder,
            "task_encoder": model.task_encoder,
            "transformer_decoder": model.transformer_module,
            "mask_head": model.transformer_module.decoder.mask_embed,
            "class_head": model.transformer_module.decoder.class_embed,
        }

    def config(self) -> dict[str, Any]:
        """Everything but the weights: a JSON-able dict that :meth:`from_config` rebuilds the network from."""
        return self.plain_config({"task": self.task, **_plain(self.network.config)})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a network with random weights; see :meth:`KeyFrameSegmentor.from_config`."""
        plain = cls.take_apart(config, {"task", "backbone_config", *FIELDS})
        task = plain.fields.pop("task")
        network = OneFormerForUniversalSegmentation(_config(plain.fields, plain.num_classes))
        return cls(network, plain.image_mean, plain.image_std, task)

    @classmethod
    def from_pretrained(cls, path_or_id: str, num_classes: int | None = None) -> Self:
        """A OneFormer that transformers saved, e.g. ``shi-labs/oneformer_ade20k_swin_tiny``; see the base class."""
        return cls(
            *load_network(
                path_or_id,
                OneFormerConfig,
                OneFormerForUniversalSegmentation,
                lambda saved, classes: _config(_plain(saved), classes),
                "model.transformer_module.decoder.class_embed.",
                num_classes,
            )
        )


def _plain(config: OneFormerConfig) -> dict[str, Any]:
    values = config.to_dict()
    if values["enforce_input_proj"]:
        raise ValueError("this OneFormer has enforce_input_proj=true, of which transformers does not save the weights")
    return {**{field: values[field] for field in FIELDS}, "backbone_config": plain_backbone(config)}


def _config(fields: Mapping[str, Any], num_classes: int) -> OneFormerConfig:
    widths = {name: fields[name] for name in ("conv_dim", "mask_dim", "hidden_dim")}
    if len(set(widths.values())) > 1:
        raise ValueError(f"{widths} of a OneFormer: expected one width; transformers does not save projections between them")
    config = strict_config(OneFormerConfig, {**fields, "num_labels": num_classes, "is_training": False})
    if config.decoder_layers < 2:
        raise ValueError(f"decoder_layers of a OneFormer is {config.decoder_layers}; expected at least 2, which is one layer")
    return config
