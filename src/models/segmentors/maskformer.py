"""MaskFormer as a segmentor of key frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformers import MaskFormerConfig, MaskFormerForInstanceSegmentation

from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics, any_backbone
from src.models.segmentors.base import KeyFrameSegmentor, in_full_precision
from src.models.segmentors.pretrained import load_network, plain_backbone, strict_config
from src.structures import MaskPrediction

FIELDS = ("fpn_feature_size", "mask_feature_size")
DECODER_FIELDS = (
    "num_queries", "d_model", "decoder_layers", "decoder_ffn_dim", "decoder_attention_heads", "activation_function", "dropout",
    "attention_dropout", "activation_dropout",
)  # fmt: skip
"""The sizes of the transformer decoder, which is DETR's."""


class MaskFormerSegmentor(KeyFrameSegmentor):
    """MaskFormer (arXiv 2107.06278). It predicts from every decoder layer; all but the last serve deep supervision alone.

    Args:
        network: transformers' model.
        image_mean: per channel, for pixels in 0..1.
        image_std: per channel, for pixels in 0..1.
    """

    model_type = "maskformer"

    def __init__(
        self,
        network: MaskFormerForInstanceSegmentation,
        image_mean: Statistics = IMAGENET_MEAN,
        image_std: Statistics = IMAGENET_STD,
    ) -> None:
        decoder = network.config.decoder_config
        classes = network.class_predictor.out_features - 1
        super().__init__(network, classes, decoder.num_queries, decoder.d_model, image_mean, image_std)

    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an image; see :meth:`KeyFrameSegmentor.forward`. L = decoder layers in training, else 1; h, w = 1/4."""
        padded, size = self.normalised(image)
        parts = self.parts()
        features = [in_full_precision(feature) for feature in parts["backbone"](padded).feature_maps]
        pixels = parts["pixel_decoder"](features).last_hidden_state
        queries = self._queries(features[-1])
        embeddings = [parts["mask_head"](state) for state in queries]
        return MaskPrediction(
            class_logits_per_layer=torch.stack([parts["class_head"](state).float() for state in queries]),
            mask_logits_per_layer=torch.stack([torch.einsum("bqc,bchw->bqhw", e, pixels).float() for e in embeddings]),
            queries=queries[-1].float(),
            image_size=size,
            padded_size=(padded.shape[-2], padded.shape[-1]),
        )

    def _queries(self, features: Float[Tensor, "B _ h w"]) -> list[Float[Tensor, "B Q C"]]:
        """The queries after each decoder layer, or the last alone, after the decoder's layer norm: (B, Q, C) each."""
        module = self.network.model.transformer_module
        projected = features if module.input_projection is None else in_full_precision(module.input_projection(features))
        # transformers keeps the last positions for its next call of that size, and would keep some without data (frame_cost).
        sine = module.position_embedder
        positions = sine.build_sine_position_embedding.__wrapped__(
            projected.shape, projected.device, projected.dtype, sine.num_position_features, sine.normalize, sine.scale
        )
        learned = module.queries_embedder.weight[None].expand(len(features), -1, -1)
        pixels, state = projected.flatten(2).transpose(1, 2), torch.zeros_like(learned)
        states: list[Tensor] = []
        for layer in module.decoder.layers:
            state = layer(state, None, positions.flatten(2).transpose(1, 2), learned, pixels)
            states.append(state)
        # transformers' decoder normalises its last state only; the paper's deep supervision reads all of them normalised.
        return [module.decoder.layernorm(state) for state in (states if self.learning() else states[-1:])]

    def parts(self) -> dict[str, nn.Module]:
        """``backbone``, ``pixel_decoder``, ``transformer_decoder``, ``mask_head``, ``class_head``: apart, and all there is."""
        model = self.network.model
        return {
            "backbone": model.pixel_level_module.encoder,
            "pixel_decoder": model.pixel_level_module.decoder,
            "transformer_decoder": model.transformer_module,
            "mask_head": self.network.mask_embedder,
            "class_head": self.network.class_predictor,
        }

    def config(self) -> dict[str, Any]:
        """Everything but the weights: a JSON-able dict that :meth:`from_config` rebuilds the network from."""
        return self.plain_config(_plain(self.network.config))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a network with random weights; see :meth:`KeyFrameSegmentor.from_config`."""
        plain = cls.take_apart(config, {"backbone_config", "decoder_config", *FIELDS})
        built = _config(plain.fields, plain.num_classes)
        with any_backbone():
            return cls(MaskFormerForInstanceSegmentation(built), plain.image_mean, plain.image_std)

    @classmethod
    def from_pretrained(cls, path_or_id: str, num_classes: int | None = None) -> Self:
        """A MaskFormer that transformers saved, e.g. ``facebook/maskformer-swin-tiny-ade``; see the base class."""
        return cls(
            *load_network(
                path_or_id,
                MaskFormerConfig,
                MaskFormerForInstanceSegmentation,
                lambda saved, classes: _config(_plain(saved), classes),
                "class_predictor.",
                num_classes,
            )
        )


def _plain(config: MaskFormerConfig) -> dict[str, Any]:
    decoder = config.decoder_config.to_dict()
    return {
        **{field: config.to_dict()[field] for field in FIELDS},
        "backbone_config": plain_backbone(config),
        "decoder_config": {field: decoder[field] for field in DECODER_FIELDS},
    }


def _config(fields: Mapping[str, Any], num_classes: int) -> MaskFormerConfig:
    decoder = dict(fields["decoder_config"])
    if set(decoder) != set(DECODER_FIELDS):
        odd = ", ".join(sorted(set(decoder) ^ set(DECODER_FIELDS)))
        raise ValueError(f"decoder_config of a MaskFormer: {odd} missing or not known")
    values = {**fields, "num_labels": num_classes, "decoder_config": {"model_type": "detr", **decoder}}
    return strict_config(MaskFormerConfig, values)
