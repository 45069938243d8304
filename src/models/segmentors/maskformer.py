"""MaskFormer as a key-frame segmentor."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import MaskFormerForInstanceSegmentation, PreTrainedConfig

from src.models.segmentors.base import KeyFrameSegmentor, LayerPredictions, float32_under_autocast

_DECODER_FIELDS = (
    "num_queries", "d_model", "decoder_layers", "decoder_ffn_dim", "decoder_attention_heads", "activation_function", "dropout",
    "attention_dropout", "activation_dropout",
)  # fmt: skip
"""Sizes of the transformer decoder, which is DETR's."""


class MaskFormerSegmentor(KeyFrameSegmentor):
    """MaskFormer (arXiv 2107.06278); L = decoder layers in training, else 1."""

    network_class = MaskFormerForInstanceSegmentation
    model_type = "maskformer"
    field_names = ("fpn_feature_size", "mask_feature_size", "backbone_config", "decoder_config")

    def predict_layers(self, padded: Float[Tensor, "B 3 H W"]) -> LayerPredictions:
        """Run the network; see the base class."""
        parts = self.parts()
        features = [float32_under_autocast(feature) for feature in parts["backbone"](padded).feature_maps]
        pixels = parts["pixel_decoder"](features).last_hidden_state
        queries = self._queries(features[-1])
        masks = [torch.einsum("bqc,bchw->bqhw", parts["mask_head"](state), pixels) for state in queries]
        return LayerPredictions([parts["class_head"](state) for state in queries], masks, queries[-1])

    def _queries(self, features: Float[Tensor, "B _ h w"]) -> list[Float[Tensor, "B Q C"]]:
        """Return the queries after the decoder's layer norm, of each layer or of the last only."""
        module = self.network.model.transformer_module
        projected = features if module.input_projection is None else float32_under_autocast(module.input_projection(features))
        # transformers caches the last positions, which in frame_cost are tensors without data: hence the undecorated function.
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
        # transformers normalizes the last state only; the paper's deep supervision reads all of them normalized.
        return [module.decoder.layernorm(state) for state in (states if self.trains_any_part() else states[-1:])]

    def parts(self) -> dict[str, nn.Module]:
        """Return ``backbone``, ``pixel_decoder``, ``transformer_decoder``, ``mask_head``, ``class_head``: disjoint, complete."""
        model = self.network.model
        return {
            "backbone": model.pixel_level_module.encoder,
            "pixel_decoder": model.pixel_level_module.decoder,
            "transformer_decoder": model.transformer_module,
            "mask_head": self.network.mask_embedder,
            "class_head": self.network.class_predictor,
        }

    @classmethod
    def network_fields(cls, config: PreTrainedConfig) -> dict[str, Any]:
        """Return the fields of transformers' configuration; see the base class."""
        fields = super().network_fields(config)
        return {**fields, "decoder_config": {name: fields["decoder_config"][name] for name in _DECODER_FIELDS}}

    @classmethod
    def network_config(cls, fields: Mapping[str, Any], num_classes: int) -> PreTrainedConfig:
        """Build transformers' configuration; see the base class."""
        decoder = dict(fields["decoder_config"])
        if set(decoder) != set(_DECODER_FIELDS):
            odd = ", ".join(sorted(set(decoder) ^ set(_DECODER_FIELDS)))
            raise ValueError(f"decoder_config of a MaskFormer: {odd} missing or unknown")
        return super().network_config({**fields, "decoder_config": {"model_type": "detr", **decoder}}, num_classes)
