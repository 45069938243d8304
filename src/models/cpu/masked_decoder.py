"""Mask2Former's transformer decoder for inference: one prediction, and attention masks computed at the size of their level."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerMaskedAttentionDecoderOutput,
    Mask2FormerTransformerModule,
)

from src.models.cpu.mask_features import MaskFeatures
from src.models.replacement import Replacement
from src.ops.sine_positions import sine_positions


class MaskedDecoder(Replacement, Mask2FormerTransformerModule):  # type: ignore[misc]
    """Replacement of transformers' module.

    In inference mode it returns only the last prediction (L = 1), equal to float rounding. A mask is the product of queries and
    mask features, and downsampling it to the level that a layer attends to is a weighted sum over pixels: so the features are
    downsampled once per level, and only the last layer computes masks at full size. Otherwise (training, pre-norm layers) it runs
    transformers' code.
    """

    def forward(
        self, multi_scale_features: Sequence[Tensor], mask_features: Tensor | MaskFeatures, **options: Any
    ) -> Mask2FormerMaskedAttentionDecoderOutput | SimpleNamespace:
        """Decode the queries; in inference mode both sequences of the result contain only the last prediction.

        Args:
            multi_scale_features: (B, C, h_i, w_i) of three levels, coarse to fine.
            mask_features: (B, C, h, w), or those of :class:`src.models.cpu.pixel_decoder.PixelDecoder`.
            options: those of transformers' module; any of them selects transformers' code.

        Returns:
            normed ``intermediate_hidden_states`` (Q, B, C) and ``masks_queries_logits`` (B, Q, h, w), one per prediction.
        """
        pre_norm = any(layer.pre_norm for layer in self.decoder.layers)
        if not torch.is_inference_mode_enabled() or self.training or pre_norm or options:
            features = mask_features.projected() if isinstance(mask_features, MaskFeatures) else mask_features
            return super().forward(multi_scale_features, features, **options)
        if isinstance(mask_features, Tensor):
            mask_features = MaskFeatures(mask_features)
        levels = [self._level(number, feature, mask_features) for number, feature in enumerate(multi_scale_features)]
        batch = len(multi_scale_features[0])
        positions = self.queries_embedder.weight
        queries = self.queries_features.weight.expand(batch, -1, -1)
        normed = self.decoder.layernorm(queries)
        for number, layer in enumerate(self.decoder.layers):
            values, keys, level_mask_features = levels[number % len(levels)]
            attention_mask = self._attention_mask(normed, level_mask_features)
            queries = _layer(layer, queries, positions, keys, values, attention_mask)
            normed = self.decoder.layernorm(queries)
        masks = mask_features.masks(self.decoder.mask_predictor.mask_embedder(normed))
        return SimpleNamespace(intermediate_hidden_states=(normed.transpose(0, 1),), masks_queries_logits=(masks,))

    def _level(self, number: int, feature: Tensor, mask_features: MaskFeatures) -> tuple[Tensor, Tensor, MaskFeatures]:
        """Return values (B, N, C), keys (values plus positions), and the mask features at the size of a level."""
        tokens = self.input_projections[number](feature).flatten(2).mT + self.level_embed.weight[number]
        size = (feature.shape[-2], feature.shape[-1])
        positions = sine_positions(size, tokens.shape[-1], feature.dtype, feature.device)
        return tokens, tokens + positions, mask_features.at(size)

    def _attention_mask(self, normed: Tensor, level_mask_features: MaskFeatures) -> Tensor:
        """Return the attention mask (B, 1, Q, N): inside a query's mask, or everywhere if that is empty."""
        inside = level_mask_features.masks(self.decoder.mask_predictor.mask_embedder(normed)).flatten(2) >= 0
        attended: Tensor = inside | ~inside.any(-1, keepdim=True)
        return attended[:, None]


def _layer(
    layer: Mask2FormerMaskedAttentionDecoderLayer,
    queries: Tensor,
    positions: Tensor,
    keys: Tensor,
    values: Tensor,
    attention_mask: Tensor,
) -> Tensor:
    """Apply a post-norm layer to queries (B, Q, C): masked cross-attention, self-attention, feed-forward network."""
    cross, self_attention = layer.cross_attn, layer.self_attn
    weights, biases = cross.in_proj_weight.chunk(3), cross.in_proj_bias.chunk(3)
    projected = [
        F.linear(x, weight, bias) for x, weight, bias in zip((queries + positions, keys, values), weights, biases, strict=True)
    ]
    queries = layer.cross_attn_layer_norm(queries + cross.out_proj(_attend(projected, cross.num_heads, attention_mask)))
    positioned = queries + positions
    projected = [self_attention.q_proj(positioned), self_attention.k_proj(positioned), self_attention.v_proj(queries)]
    queries = layer.self_attn_layer_norm(queries + self_attention.out_proj(_attend(projected, self_attention.num_heads)))
    updated: Tensor = layer.final_layer_norm(queries + layer.fc2(layer.activation_fn(layer.fc1(queries))))
    return updated


def _attend(projected: Sequence[Tensor], heads: int, attention_mask: Tensor | None = None) -> Tensor:
    """Compute multi-head attention, scaled by the square root of the heads' width, (B, Q, C)."""
    query, key, value = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in projected)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask).transpose(1, 2).flatten(2)
