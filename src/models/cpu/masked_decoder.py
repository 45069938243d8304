"""Mask2Former's transformer decoder as inference needs it: one prediction, and attention masks at the size they are used at."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerMaskedAttentionDecoderOutput,
    Mask2FormerTransformerModule,
)

from src.models.cpu.mask_features import MaskFeatures
from src.ops.sine_positions import sine_positions


class MaskedDecoder(Mask2FormerTransformerModule):  # type: ignore[misc]
    """Takes the place of transformers' module, with its layers and names.

    In inference mode it gives the last prediction only (L = 1), to float rounding. A mask is the product of queries and mask
    features, and reducing it to the size at which a layer attends is a weighted sum over pixels: so the features are reduced once
    for each size, and no layer but the last makes masks at their full size. Elsewhere (training, pre-norm layers) it is
    transformers' module.

    Args:
        module: whose layers to use.
    """

    def __init__(self, module: Mask2FormerTransformerModule) -> None:
        nn.Module.__init__(self)
        # The same parameters, buffers and children; nothing is copied.
        self.__dict__.update(module.__dict__)

    def forward(
        self, multi_scale_features: Sequence[Tensor], mask_features: Tensor | MaskFeatures, **options: Any
    ) -> Mask2FormerMaskedAttentionDecoderOutput | SimpleNamespace:
        """See transformers; in inference mode both sequences of the result have the last prediction only.

        Args:
            multi_scale_features: (B, C, h_i, w_i) of three levels, coarse to fine.
            mask_features: (B, C, h, w), or what :class:`src.models.cpu.pixel_decoder.PixelDecoder` gives instead.
            options: of transformers' module; with any, that is what runs.

        Returns:
            normed ``intermediate_hidden_states`` (Q, B, C) and ``masks_queries_logits`` (B, Q, h, w), one per prediction.
        """
        pre_norm = any(layer.pre_norm for layer in self.decoder.layers)
        if not torch.is_inference_mode_enabled() or self.training or pre_norm or options:
            plain = mask_features.projected() if isinstance(mask_features, MaskFeatures) else mask_features
            return super().forward(multi_scale_features, plain, **options)
        if isinstance(mask_features, Tensor):
            mask_features = MaskFeatures(mask_features)
        levels = [self._level(number, feature, mask_features) for number, feature in enumerate(multi_scale_features)]
        batch = len(multi_scale_features[0])
        positions = self.queries_embedder.weight
        queries = self.queries_features.weight.expand(batch, -1, -1)
        normed = self.decoder.layernorm(queries)
        for number, layer in enumerate(self.decoder.layers):
            values, keys, reduced = levels[number % len(levels)]
            visible = self._visible(normed, reduced)
            queries = _layer(layer, queries, positions, keys, values, visible)
            normed = self.decoder.layernorm(queries)
        masks = mask_features.masks(self.decoder.mask_predictor.mask_embedder(normed))
        return SimpleNamespace(intermediate_hidden_states=(normed.transpose(0, 1),), masks_queries_logits=(masks,))

    def _level(self, number: int, feature: Tensor, mask_features: MaskFeatures) -> tuple[Tensor, Tensor, MaskFeatures]:
        """What is attended to (B, N, C), the same with positions, and the mask features at that size."""
        tokens = self.input_projections[number](feature).flatten(2).mT + self.level_embed.weight[number]
        size = (feature.shape[-2], feature.shape[-1])
        positions = sine_positions(size, tokens.shape[-1], feature.dtype, feature.device)
        return tokens, tokens + positions, mask_features.at(size)

    def _visible(self, normed: Tensor, reduced: MaskFeatures) -> Tensor:
        """Where a query may look (B, 1, Q, N): inside of its mask, or everywhere if that is empty."""
        inside = reduced.masks(self.decoder.mask_predictor.mask_embedder(normed)).flatten(2) >= 0
        visible: Tensor = inside | ~inside.any(-1, keepdim=True)
        return visible[:, None]


def _layer(
    layer: Mask2FormerMaskedAttentionDecoderLayer,
    queries: Tensor,
    positions: Tensor,
    keys: Tensor,
    values: Tensor,
    visible: Tensor,
) -> Tensor:
    """One post-norm layer: masked cross-attention, self-attention, feed-forward network; (B, Q, C) to the same."""
    cross, own = layer.cross_attn, layer.self_attn
    weights, biases = cross.in_proj_weight.chunk(3), cross.in_proj_bias.chunk(3)
    projected = [
        F.linear(x, weight, bias) for x, weight, bias in zip((queries + positions, keys, values), weights, biases, strict=True)
    ]
    queries = layer.cross_attn_layer_norm(queries + cross.out_proj(_attend(projected, cross.num_heads, visible)))
    placed = queries + positions
    projected = [own.q_proj(placed), own.k_proj(placed), own.v_proj(queries)]
    queries = layer.self_attn_layer_norm(queries + own.out_proj(_attend(projected, own.num_heads)))
    updated: Tensor = layer.final_layer_norm(queries + layer.fc2(layer.activation_fn(layer.fc1(queries))))
    return updated


def _attend(projected: Sequence[Tensor], heads: int, visible: Tensor | None = None) -> Tensor:
    """Attention of several heads, scaled by the square root of their width; (B, Q, C)."""
    query, key, value = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in projected)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible).transpose(1, 2).flatten(2)
