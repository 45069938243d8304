"""Multi-scale deformable attention without ``grid_sample``: on CPUs it takes most of a key frame's time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

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
        value = self._value(encoder_hidden_states, attention_mask)
        offsets, weights = self._samples(placed)
        learning = value.requires_grad or offsets.requires_grad or weights.requires_grad
        if value.device.type == "cpu" and not learning:  # the sum's backward pass is slower than that of grid_sample
            table = SampledTable.of(value, spatial_shapes_list)
            output = table.sums(_positions(offsets, reference_points, spatial_shapes_list), weights)
        else:
            locations = reference_points[:, :, None, :, None] + offsets / _widths_and_heights(spatial_shapes_list, offsets)
            output = multi_scale_deformable_attention(value, list(spatial_shapes_list), locations, weights)
        return self.output_proj(output), weights

    def table(self, encoder_hidden_states: Tensor, attention_mask: Tensor | None, shapes: Shapes) -> SampledTable:
        """What :meth:`attend` samples, made once for all tokens; the arguments are those of :meth:`forward`."""
        # Without padding there is nothing to fill, and filling copies everything.
        if attention_mask is not None and not bool(attention_mask.any()):
            attention_mask = None
        return SampledTable.of(self._value(encoder_hidden_states, attention_mask), shapes)

    def attend(self, placed: Tensor, reference_points: Tensor, table: SampledTable) -> Tensor:
        """:meth:`forward` for some tokens (B, T, C), positions added, without gradients on a CPU; (B, T, C)."""
        offsets, weights = self._samples(placed)
        output: Tensor = self.output_proj(table.sums(_positions(offsets, reference_points, table.shapes), weights))
        return output

    def _value(self, encoder_hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, S, heads, C/heads)."""
        value: Tensor = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            value = value.masked_fill(attention_mask[..., None], 0.0)
        return value.view(*value.shape[:2], self.num_heads, -1)

    def _samples(self, placed: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets (B, T, heads, levels, points, 2) in pixels of their level, and weights without the last dimension."""
        batch, tokens, _ = placed.shape
        offsets = self.sampling_offsets(placed).view(batch, tokens, self.num_heads, self.num_levels, self.num_points, 2)
        logits = self.attention_weights(placed).view(batch, tokens, self.num_heads, -1)
        return offsets, logits.softmax(-1).view(offsets.shape[:-1])


def _widths_and_heights(shapes: Shapes, like: Tensor) -> Tensor:
    """(levels, 1, 2)."""
    return torch.tensor([(width, height) for height, width in shapes], device=like.device)[:, None]


def _positions(offsets: Tensor, reference_points: Tensor, shapes: Shapes) -> Tensor:
    # Offsets are in pixels of their level: no need to divide by its size and multiply again.
    return offsets + (reference_points[:, :, None, :, None] * _widths_and_heights(shapes, offsets) - 0.5)


@dataclass(frozen=True)
class SampledTable:
    """Maps of several levels as rows of one table, each map with a border of zeros one pixel wide.

    Attributes:
        rows: (B, rows, heads, C/heads), at least float32.
        shapes: (height, width) of each level, without its border.
        starts: the row at which each level starts.
    """

    rows: Tensor
    shapes: Shapes
    starts: Sequence[int]

    @classmethod
    def of(cls, value: Tensor, shapes: Shapes) -> Self:
        """From maps that are flattened one after another, (B, S, heads, C/heads)."""
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
        return cls(torch.cat(padded, dim=1), shapes, starts)

    def sums(self, positions: Tensor, weights: Tensor) -> Tensor:
        """Sum bilinear samples, each with a weight of its own.

        A bilinear sample is the weighted sum of four corners, so all samples of a token and head are one weighted sum over rows
        of a table, which ``embedding_bag`` does without storing the samples.

        Convention:
            ``positions`` are (x, y) in pixels of their level, pixel centres at whole numbers; zero outside of the map.

        Args:
            positions: (B, T, heads, levels, points, 2).
            weights: (B, T, heads, levels, points).

        Returns:
            (B, T, C), at least float32.
        """
        batch, rows_per_image, heads, width_per_head = self.rows.shape
        tokens, device = positions.shape[1], positions.device
        last = _widths_and_heights(self.shapes, positions)
        # Every map has a border of zeros, so a clamped position reads what lies outside: nothing.
        positions = torch.minimum(positions.clamp(min=-1.0), last.to(positions.dtype))
        corner = torch.minimum(positions.floor().to(torch.int32), last.to(torch.int32) - 1)
        right, down = (positions - corner).unbind(-1)

        row_length = torch.tensor([width + 2 for _, width in self.shapes], device=device, dtype=torch.int32)[:, None]
        first = torch.tensor(self.starts, device=device, dtype=torch.int32)[:, None] + row_length + 1
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
        table = self.rows.view(-1, width_per_head)
        # One dtype for both: under autocast the weights come in half precision.
        summed = F.embedding_bag(
            indices.view(bags, -1), table, mode="sum", per_sample_weights=corner_weights.view(bags, -1).to(table.dtype)
        )
        return summed.view(batch, tokens, heads * width_per_head)
