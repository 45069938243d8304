"""Multi-scale deformable attention without ``grid_sample``, which takes most of a key frame's time on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as TransformersAttention,
)
from transformers.models.oneformer.modeling_oneformer import (
    OneFormerPixelDecoderEncoderMultiscaleDeformableAttention as OneFormerAttention,
)

from src.models.replacement import replace_modules
from src.ops.cache import device_constant

Shapes = Sequence[tuple[int, int]]


class DeformableAttention(nn.Module):
    """Attention of the pixel decoders of Mask2Former and OneFormer (Deformable DETR, arXiv 2010.04159, equation 3).

    Replacement of transformers' module with the same parameters. Without gradients on CPUs it sums sampled values in another way,
    equal to float rounding.
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
        """Replace each of transformers' modules in a pixel decoder."""
        replace_modules(pixel_decoder, (TransformersAttention, OneFormerAttention), cls)

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
        """Compute one layer's attention; the argument names are transformers', which passes more than the layer needs.

        Args:
            hidden_states: (B, S, C), features of all levels, one after another.
            encoder_hidden_states: (B, S, C), features to sample.
            reference_points: (B, S, levels, 2), (x, y) in 0..1.
            spatial_shapes_list: (height, width) of each level; S is the sum of their products.
            attention_mask: (B, S), True for padding.
            position_embeddings: (B, S, C), added before the sampling points and weights are computed.

        Returns:
            (B, S, C), and the attention weights (B, S, heads, levels, points).
        """
        positioned = hidden_states if position_embeddings is None else hidden_states + position_embeddings
        value = self._value(encoder_hidden_states, attention_mask)
        layers = (*self.sampling_offsets.parameters(), *self.attention_weights.parameters())
        with_gradients = torch.is_grad_enabled() and any(x.requires_grad for x in (value, positioned, *layers))
        # The sum's backward pass is slower than that of grid_sample, and other runtimes have no such sum.
        by_table = value.device.type == "cpu" and not with_gradients and not torch.compiler.is_exporting()
        if by_table:
            table = SampledTable.of(value, spatial_shapes_list)
            positions, by_head = self._samples(positioned, reference_points, table)
            output, weights = table.sums(positions, by_head), by_head.permute(3, 0, 1, 2)
            weights = weights.reshape(*positioned.shape[:2], *weights.shape[1:])
        else:
            batch, tokens, _ = positioned.shape
            shape = (batch, tokens, self.num_heads, self.num_levels, self.num_points)
            offsets = self.sampling_offsets(positioned).view(*shape, 2)
            weights = self.attention_weights(positioned).view(*shape[:3], -1).softmax(-1).view(shape)
            sizes = tuple(side for height, width in spatial_shapes_list for side in (width, height))
            widths = device_constant(sizes, torch.int64, value.device).view(-1, 1, 2)
            locations = reference_points[:, :, None, :, None] + offsets / widths
            output = _sums_by_level(value, spatial_shapes_list, locations, weights)
        return self.output_proj(output.reshape(positioned.shape)), weights

    def table(self, encoder_hidden_states: Tensor, attention_mask: Tensor | None, shapes: Shapes) -> SampledTable:
        """Return the table that :meth:`attend` samples for all tokens; the arguments are those of :meth:`forward`."""
        # Without padding nothing is masked, and masking would copy everything.
        if attention_mask is not None and not bool(attention_mask.any()):
            attention_mask = None
        return SampledTable.of(self._value(encoder_hidden_states, attention_mask), shapes)

    def attend(self, positioned: Tensor, reference_points: Tensor, table: SampledTable) -> Tensor:
        """Compute :meth:`forward` for some tokens (B, T, C), positions added, without gradients on a CPU; (B, T, C)."""
        output: Tensor = self.output_proj(table.sums(*self._samples(positioned, reference_points, table)).view(positioned.shape))
        return output

    def _value(self, encoder_hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Project the sampled features, (B, S, heads, C/heads)."""
        value: Tensor = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            value = value.masked_fill(attention_mask[..., None], 0.0)
        return value.view(*value.shape[:2], self.num_heads, -1)

    def _samples(self, positioned: Tensor, reference_points: Tensor, table: SampledTable) -> tuple[Tensor, Tensor]:
        """Return positions and weights for :meth:`SampledTable.sums` of tokens (B, T, C) with positions added.

        Tokens come last, so that each step runs along whole rows: several times as fast as transformers' order, whose last
        dimensions are 4 points and 2 coordinates.
        """
        rows, last = table.rows, table.last
        # One product: all x, then all y, then the weights.
        offsets, weights = self.sampling_offsets, self.attention_weights
        matrix = torch.cat((offsets.weight.view(-1, 2, positioned.shape[-1]).transpose(0, 1).flatten(0, 1), weights.weight))
        bias = torch.cat((offsets.bias.view(-1, 2).T.flatten(), weights.bias))
        found = torch.addmm(bias[:, None], matrix, positioned.flatten(0, 1).T).to(rows.dtype)
        moved, logits = torch.split(found, [2 * len(weights.weight), len(weights.weight)])
        # Offsets are already in pixels of their level.
        start = reference_points.flatten(0, 1).permute(2, 1, 0).to(rows.dtype) * last[..., 0] - 0.5
        grouped = (self.num_heads, self.num_levels, self.num_points, -1)
        positions = moved.view(2, *grouped).add_(start[:, None, :, None])
        return positions, logits.view(self.num_heads, -1, logits.shape[-1]).softmax(1).view(grouped)


def _sums_by_level(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sum bilinear samples, each with its own weight, by ``grid_sample``.

    A sum for each level needs no tensor of all samples, unlike transformers' function: its training step takes 1.5 times as long.

    Args:
        value: maps flattened one after another, (B, S, heads, C/heads).
        shapes: (height, width) of each map.
        locations: (B, T, heads, levels, points, 2), (x, y) in 0..1; zero outside of the map.
        weights: (B, T, heads, levels, points).

    Returns:
        (B, T, C).
    """
    batch, _, heads, width_per_head = value.shape
    levels = torch.split(value, [height * width for height, width in shapes], dim=1)
    sums = []
    for number, (level, (height, width)) in enumerate(zip(levels, shapes, strict=True)):
        image = level.flatten(2).transpose(1, 2).reshape(batch * heads, width_per_head, height, width)
        grid = (2 * locations[:, :, :, number] - 1).transpose(1, 2).flatten(0, 1)
        samples = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        shares = weights[:, :, :, number].transpose(1, 2).flatten(0, 1)[:, None]
        sums.append((samples * shares).sum(-1))
    return sum(sums[1:], sums[0]).view(batch, heads * width_per_head, -1).transpose(1, 2)


@dataclass(frozen=True)
class SampledTable:
    """Maps of several levels as rows of one table; each map has a border of zeros one pixel wide.

    Attributes:
        rows: (B, rows, heads, C/heads), at least float32.
        last: (2, levels, 1, 1), width and height of each level without its border, in the precision of ``rows``.
        down: (levels, 1, 1) int32, stride in entries of all heads between a pixel and the one below it.
        first: (heads, levels, 1, 1) int32, entry of each level's pixel at (0, 0).
    """

    rows: Tensor
    last: Tensor
    down: Tensor
    first: Tensor

    @classmethod
    def of(cls, value: Tensor, shapes: Shapes) -> Self:
        """Build the table from maps flattened one after another, (B, S, heads, C/heads)."""
        batch, _, heads, width_per_head = value.shape
        levels = torch.split(
            value.to(torch.promote_types(value.dtype, torch.float32)), [height * width for height, width in shapes], dim=1
        )
        padded = [
            F.pad(level.view(batch, height, width, -1), (0, 0, 1, 1, 1, 1)).view(batch, -1, heads, width_per_head)
            for level, (height, width) in zip(levels, shapes, strict=True)
        ]
        rows = torch.cat(padded, dim=1)
        starts = [0, *accumulate(level.shape[1] for level in padded[:-1])]
        first = torch.tensor([start + width + 3 for start, (_, width) in zip(starts, shapes, strict=True)], dtype=torch.int32)
        return cls(
            rows,
            rows.new_tensor([[width for _, width in shapes], [height for height, _ in shapes]])[..., None, None],
            torch.tensor([heads * (width + 2) for _, width in shapes], dtype=torch.int32)[:, None, None],
            (heads * first + torch.arange(heads, dtype=torch.int32)[:, None])[..., None, None],
        )

    def sums(self, positions: Tensor, weights: Tensor) -> Tensor:
        """Sum bilinear samples, each with its own weight.

        A bilinear sample is the weighted sum of four corners, so all samples of a token and head are one weighted sum over rows
        of a table, which ``embedding_bag`` computes without storing the samples.

        Convention:
            ``positions`` are x, then y, in pixels of their level, pixel centers at whole numbers; zero outside of the map.

        Args:
            positions: (2, heads, levels, points, B * T), tokens of all images one after another; overwritten.
            weights: (heads, levels, points, B * T).

        Returns:
            (B * T, C), at least float32.
        """
        batch, rows_per_image, heads, width_per_head = self.rows.shape
        tokens, last = positions.shape[-1], self.last[:, None]
        # Every map has a border of zeros, so a clamped position outside reads zeros.
        positions = torch.minimum(positions.clamp_(min=-1.0), last)
        corner = torch.minimum(positions.floor(), last - 1)
        right, down = positions.sub_(corner).unbind()
        column, row = corner.to(torch.int32).unbind()

        indices = torch.empty((*weights.shape[:-1], 4, tokens), dtype=torch.int32)
        upper_left, upper_right, lower_left, lower_right = indices.unbind(-2)
        start = row.mul_(self.down).add_(self.first)
        if batch > 1:
            image = torch.arange(batch, dtype=torch.int32) * (rows_per_image * heads)
            start += image.repeat_interleave(tokens // batch)
        torch.add(start, column, alpha=heads, out=upper_left)
        torch.add(upper_left, heads, out=upper_right)
        torch.add(upper_left, self.down, out=lower_left)
        torch.add(lower_left, heads, out=lower_right)

        shares = torch.empty(indices.shape, dtype=self.rows.dtype)
        upper_left, upper_right, lower_left, lower_right = shares.unbind(-2)
        lower = weights * down
        upper = weights - lower
        torch.mul(lower, right, out=lower_right)
        torch.mul(upper, right, out=upper_right)
        torch.sub(lower, lower_right, out=lower_left)
        torch.sub(upper, upper_right, out=upper_left)

        # As matrices, because torch transposes matrices block by block.
        bags = (tokens * heads, -1)
        summed = F.embedding_bag(
            indices.view(-1, tokens).T.contiguous().view(bags),
            self.rows.view(-1, width_per_head),
            mode="sum",
            per_sample_weights=shares.view(-1, tokens).T.contiguous().view(bags),
        )
        return summed.view(tokens, heads * width_per_head)
