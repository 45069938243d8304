"""Encoder layer of the pixel decoder for CPUs: each block of tokens passes through all of it while in the cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoderEncoderLayer

from src.models.cpu.deformable_attention import DeformableAttention, Shapes

_BLOCK = 1024
"""Tokens per block: 1,024 wide inside the feed-forward network, they take 4 MiB; the whole image would take 35."""


class EncoderLayer(Mask2FormerPixelDecoderEncoderLayer):  # type: ignore[misc]
    """Replacement of transformers' layer, with the same parameters and results; in inference mode it runs block by block.

    Args:
        layer: layer to replace; its attention is a :class:`DeformableAttention`.
    """

    def __init__(self, layer: Mask2FormerPixelDecoderEncoderLayer) -> None:
        nn.Module.__init__(self)
        # The same parameters and children; nothing is copied.
        self.__dict__.update(layer.__dict__)

    @classmethod
    def install(cls, pixel_decoder: Any) -> None:
        """Replace each encoder layer of a pixel decoder."""
        layers = pixel_decoder.encoder.layers
        for number, layer in enumerate(layers):
            layers[number] = cls(layer)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        position_embeddings: Tensor,
        reference_points: Tensor,
        spatial_shapes_list: Shapes,
        **options: Any,
    ) -> tuple[Tensor, ...]:
        """Return a tuple whose first item is (B, S, C); the argument names are transformers'."""
        attention = self.self_attn
        inference = torch.is_inference_mode_enabled() and not self.training
        if not inference or hidden_states.device.type != "cpu" or options.get("output_attentions"):
            result: tuple[Tensor, ...] = super().forward(
                hidden_states, attention_mask, position_embeddings, reference_points, spatial_shapes_list, **options
            )
            return result
        assert isinstance(attention, DeformableAttention)
        table = attention.table(hidden_states, attention_mask, spatial_shapes_list)
        blocks = zip(
            *(torch.split(x, _BLOCK, dim=1) for x in (hidden_states, position_embeddings, reference_points)), strict=True
        )
        updated = []
        for tokens, positions, references in blocks:
            attended = attention.attend(tokens + positions, references, table)
            tokens = self.self_attn_layer_norm(tokens + attended)
            # In place: nothing else reads the output of the first layer.
            inside = self.fc2(self.fc1(tokens).relu_())
            updated.append(self.final_layer_norm(tokens + inside))
        return (torch.cat(updated, dim=1),)
