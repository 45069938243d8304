"""Multi-scale deformable attention without ``grid_sample``: on CPUs it takes most of a key frame's time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as TransformersAttention,
)
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention
from transformers.models.oneformer.modeling_oneformer import (
    OneFormerPixelDecoderEncoderMultiscaleDeformableAttention as OneFormerAttention,
)

Shapes = Sequence[tuple[int, int]]


class DeformableAttention(nn.Module):
    """The attention of the pixel decoders of Mask2Former and OneFormer (Deformable DETR, arXiv 2010.04159, equation 3), faster.

    Same layers, names and numbers as transformers' module, whose place it takes; only how the sampled values are summed without
    gradients on CPUs differs, to float rounding.

    Args:
        attention: the module whose layers to use.
    """

    def __init__(self, attention: TransformersAttention | OneFormerAttention) -> None:
        super().__init__()
        self.num_heads: int = attention.n_heads
        self.num_levels: int = attention.n_levels
        self.num_points: int = attention.n_points
        self.sampling_offsets = attention.sampling_offsets
        self.attention_weights = attention.attention_weights
        self.value_proj = attention.value_proj
        self.output_proj = attention.output_proj

    @classmethod
    def install(cls, pixel_decoder: nn.Module) -> None:
        """Put one in the place of each of transformers' modules in a pixel decoder."""
        for module in list(pixel_decoder.modules()):
            for name, child in module.named_children():
                if isinstance(child, TransformersAttention | OneFormerAttention):
                    setattr(module, name, cls(child))

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        reference_points: Tensor,
        spatial_shapes_list: Shapes,
        attention_mask: Tensor | None = None,
        position_embeddings: Tensor | None = None,
        **_unused: Any,
    ) -> tuple[Tensor, Tensor]:
        """One layer's attention; the arguments have the names that transformers calls it with, which passes more than it reads.

        Args:
            hidden_states: (B, S, C), the features of all levels, one after another.
            encoder_hidden_states: (B, S, C), what is sampled.
            reference_points: (B, S, levels, 2), (x, y) in 0..1.
            spatial_shapes_list: (height, width) of each level; S is the sum of their products.
            attention_mask: (B, S), True where there is nothing to sample.
            position_embeddings: (B, S, C), added before the sampling points and weights are computed.

        Returns:
            (B, S, C), and the attention weights (B, S, heads, levels, points).
        """
        placed = hidden_states if position_embeddings is None else hidden_states + position_embeddings
        batch, tokens, _ = placed.shape
        value = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            value = value.masked_fill(attention_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        offsets = self.sampling_offsets(placed).view(batch, tokens, self.num_heads, self.num_levels, self.num_points, 2)
        logits = self.attention_weights(placed).view(batch, tokens, self.num_heads, -1)
        weights = logits.softmax(-1).view(offsets.shape[:-1])
        sizes = torch.tensor([(width, height) for height, width in spatial_shapes_list], device=offsets.device)[:, None]
        learning = value.requires_grad or offsets.requires_grad or weights.requires_grad
        if value.device.type == "cpu" and not learning:  # the sum's backward pass is slower than that of grid_sample
            # Offsets are in pixels of their level: no need to divide by its size and multiply again.
            positions = offsets + (reference_points[:, :, None, :, None] * sizes - 0.5)
            output = weighted_samples(value, spatial_shapes_list, positions, weights)
        else:
            locations = reference_points[:, :, None, :, None] + offsets / sizes
            output = multi_scale_deformable_attention(value, list(spatial_shapes_list), locations, weights)
        return self.output_proj(output), weights


def weighted_samples(value: Tensor, shapes: Shapes, positions: Tensor, weights: Tensor) -> Tensor:
    """Sum bilinear samples of several maps, each with a weight of its own.

    A bilinear sample is the weighted sum of four corners, so all samples of a token and head are one weighted sum over rows of
    a table, which ``embedding_bag`` does without storing the samples.

    Convention:
        ``positions`` are (x, y) in pixels of their level, pixel centres at whole numbers; zero outside of the map.

    Args:
        value: (B, S, heads, C/heads), the maps of all levels flattened one after another.
        shapes: (height, width) of each level.
        positions: (B, T, heads, levels, points, 2).
        weights: (B, T, heads, levels, points).

    Returns:
        (B, T, C), at least float32.
    """
    batch, _, heads, width_per_head = value.shape
    tokens = positions.shape[1]
    table, starts = _padded_table(value, shapes)
    rows_per_image = table.shape[1]
    device = positions.device
    last = torch.tensor([(width, height) for height, width in shapes], device=device)[:, None]  # (levels, 1, 2)

    # Every map has a border of zeros one pixel wide, so a clamped position reads what lies outside: nothing.
    positions = torch.minimum(positions.clamp(min=-1.0), last.to(positions.dtype))
    corner = torch.minimum(positions.floor().to(torch.int32), last.to(torch.int32) - 1)
    right, down = (positions - corner).unbind(-1)

    row_length = torch.tensor([width + 2 for _, width in shapes], device=device, dtype=torch.int32)[:, None]
    first = torch.tensor(starts, device=device, dtype=torch.int32)[:, None] + row_length + 1
    index = (corner[..., 1] * row_length + corner[..., 0] + first) * heads
    index += torch.arange(heads, device=device, dtype=torch.int32)[:, None, None]
    if batch > 1:
        image = torch.arange(batch, device=device, dtype=torch.int32) * (rows_per_image * heads)
        index += image[:, None, None, None, None]
    below = index + row_length * heads
    indices = torch.stack((index, index + heads, below, below + heads), dim=-1)

    lower = weights * down
    upper = weights - lower
    lower_right, upper_right = lower * right, upper * right
    corner_weights = torch.stack((upper - upper_right, upper_right, lower - lower_right, lower_right), dim=-1)

    bags = batch * tokens * heads
    summed = F.embedding_bag(
        indices.view(bags, -1), table.view(-1, width_per_head), mode="sum", per_sample_weights=corner_weights.view(bags, -1)
    )
    return summed.view(batch, tokens, heads * width_per_head)


def _padded_table(value: Tensor, shapes: Shapes) -> tuple[Tensor, list[int]]:
    """Give every map a border of zeros: (B, rows, heads, C/heads), at least float32, and the row at which each level starts."""
    batch, _, heads, width_per_head = value.shape
    levels = torch.split(
        value.to(torch.promote_types(value.dtype, torch.float32)), [height * width for height, width in shapes], dim=1
    )
    padded = [
        F.pad(level.view(batch, height, width, -1), (0, 0, 1, 1, 1, 1)).view(batch, -1, heads, width_per_head)
        for level, (height, width) in zip(levels, shapes, strict=True)
    ]
    starts = [0]
    for level in padded[:-1]:
        starts.append(starts[-1] + level.shape[1])
    return torch.cat(padded, dim=1), starts
