"""Mask2Former's pixel decoder for inference on CPUs: channels last, and its last layer folded into the queries."""

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderLayer,
    Mask2FormerPixelDecoderEncoderOnly,
    Mask2FormerPixelDecoderOutput,
)

from src.models.cpu.deformable_attention import DeformableAttention, Shapes
from src.models.cpu.mask_features import MaskFeatures
from src.models.replacement import Replacement, replace_modules
from src.ops.cache import CachedResult, cached_constant
from src.ops.channels_last import group_norm_factors, upsample_2x
from src.ops.device import use_cpu_fast_path
from src.ops.sine_positions import sine_positions
from src.ops.winograd import transformed_kernel, winograd_convolution
from src.structures import Size

_BLOCK = 1024
"""Tokens per block: 1,024 wide inside the feed-forward network, they take 4 MiB; the whole image would take 35."""


class PixelDecoder(Replacement, Mask2FormerPixelDecoder):  # type: ignore[misc]
    """Replacement of transformers' module, with :class:`DeformableAttention` and :class:`EncoderLayer` inside.

    In inference mode on a CPU it returns the same features to float rounding, and mask features with their last layer pending.
    Otherwise (training, accelerators, half precision, compiled, maps that are not twice as large as the next) it runs
    transformers' code. The transformed kernel of its 3x3 convolution is cached, 4 MiB for 256 channels.
    """

    def __init__(self, decoder: Mask2FormerPixelDecoder) -> None:
        super().__init__(decoder)
        DeformableAttention.install(self)
        replace_modules(self, Mask2FormerPixelDecoderEncoderLayer, EncoderLayer)
        self._kernels = [CachedResult(transformed_kernel) for _ in self.output_convolutions]

    def forward(self, features: Sequence[Tensor], **options: Any) -> Mask2FormerPixelDecoderOutput | SimpleNamespace:
        """Decode the backbone's features; in inference mode on a CPU ``mask_features`` is a :class:`MaskFeatures`.

        Args:
            features: (B, C_i, h_i, w_i), fine to coarse.
            options: those of transformers' module; any of them selects transformers' code.

        Returns:
            ``multi_scale_features``, (B, C, h_i, w_i) of three levels, coarse to fine, and ``mask_features``.
        """
        if not use_cpu_fast_path(features[0]):
            # Training changes the weights.
            for kernel in self._kernels:
                kernel.clear()
            return super().forward(features, **options)
        if options or self.training or not _doubled(features):
            return super().forward(features, **options)
        coarse = features[::-1][: self.num_feature_levels]
        sizes = [_size(feature) for feature in coarse]
        levels = self._encoded(coarse, sizes)
        finest = levels[-1].view(len(levels[-1]), *sizes[-1], -1)
        convolutions = zip(self.lateral_convolutions, self.output_convolutions, self._kernels, strict=True)
        for feature, (lateral, output, kernel) in zip(features[: self.num_fpn_levels][::-1], convolutions, strict=True):
            finest = _pyramid_step(finest, feature, lateral, output, kernel(output[0].weight))
        maps = [level.view(len(level), *size, -1).permute(0, 3, 1, 2) for level, size in zip(levels, sizes, strict=True)]
        last = self.mask_projection
        mask_features = MaskFeatures(finest.permute(0, 3, 1, 2), last.weight.flatten(1), last.bias)
        return SimpleNamespace(multi_scale_features=tuple(maps), mask_features=mask_features)

    def _encoded(self, features: Sequence[Tensor], sizes: Sequence[Size]) -> tuple[Tensor, ...]:
        """Return tokens (B, h_i * w_i, C) of each level after all layers of the encoder."""
        first = features[0]
        projections = zip(features, self.input_projections, strict=True)
        tokens = torch.cat([_normalized(_rows(feature, layer[0]), layer[1]) for feature, layer in projections], dim=1)
        embeddings = [sine_positions(size, tokens.shape[-1], first.dtype, first.device) for size in sizes]
        positions = torch.cat([x + level for x, level in zip(embeddings, self.level_embed, strict=True)])
        positions = positions.expand(len(first), -1, -1)
        references = _reference_points(tuple(sizes), first.dtype, first.device).expand(len(first), -1, -1, -1)
        for layer in self.encoder.layers:
            tokens = layer(tokens, None, positions, references, sizes)[0]
        return torch.split(tokens, [height * width for height, width in sizes], dim=1)


class EncoderLayer(Replacement, Mask2FormerPixelDecoderEncoderLayer):  # type: ignore[misc]
    """Replacement of transformers' layer; in inference mode on a CPU, blocks of tokens pass through all of it while in the cache.

    Its attention is a :class:`DeformableAttention`.
    """

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


@cached_constant(entries=4)
def _reference_points(sizes: tuple[Size, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (1, S, levels, 2), (x, y) in 0..1 of every pixel of all levels."""
    # The images have no padding here.
    whole = torch.ones(1, len(sizes), 2, dtype=dtype, device=device)
    points: Tensor = Mask2FormerPixelDecoderEncoderOnly.get_reference_points(list(sizes), whole, device)
    return points


def _pyramid_step(coarser: Tensor, feature: Tensor, lateral: Any, output: Any, kernel: Tensor) -> Tensor:
    """Apply one step of the feature pyramid: (B, 2 * h, 2 * w, C) of the coarser level (B, h, w, C) and a backbone feature."""
    enlarged = upsample_2x(coarser)
    summed = _normalized(_rows(feature, lateral[0]), lateral[1]).view_as(enlarged).add_(enlarged)
    found = winograd_convolution(summed, kernel)
    return F.relu_(_normalized(found.flatten(1, 2), output[1]).view_as(found))


def _normalized(rows: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Normalize rows (B, N, C) in place."""
    factor, shift = group_norm_factors(rows, norm)
    return rows.mul_(factor).add_(shift)


def _rows(feature: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Apply a 1x1 convolution to (B, C, h, w); return rows (B, h * w, C')."""
    return F.linear(feature.flatten(2).mT, convolution.weight.flatten(1), convolution.bias)


def _size(feature: Tensor) -> Size:
    return feature.shape[-2], feature.shape[-1]


def _doubled(features: Sequence[Tensor]) -> bool:
    """Return whether each level is twice as large as the next."""
    sizes = [_size(feature) for feature in features]
    return all((2 * small[0], 2 * small[1]) == large for large, small in pairwise(sizes))
