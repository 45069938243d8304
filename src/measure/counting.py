"""Counting the multiply-adds of whatever torch runs."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

Formula = Callable[..., int]
T = TypeVar("T")

_aten = torch.ops.aten


def count_multiply_adds(function: Callable[[], T]) -> tuple[T, int]:
    """Multiply-adds of everything that a function runs in torch, by fvcore's convention, which the paper's figures follow.

    One multiply-add counts 1: convolutions, matrix products and attention, whichever kernel runs them. Layer and group norm
    count 5 per element, batch norm 2, bilinear resizing and ``grid_sample`` 4 per output element, ``embedding_bag`` 1 per
    element of each row it adds. All else counts 0: activations, softmax, sums, resizing by other modes, and what other
    libraries than torch do.

    Args:
        function: called once, without gradients.

    Returns:
        What the function returned, and the count. Work on tensors without data (meta device) counts like any other.
    """
    # The fused inference path of torch's own transformer layers is one operator, whose inside could not be counted.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_formulas()) as counter:
            result = function()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    # torch's formulas count a multiply-add as 2, and so do ours, to be of one kind.
    return result, counter.get_total_flops() // 2


def _formulas() -> dict[Any, Formula]:
    """What torch's counter does not know, in its units (a multiply-add is 2)."""
    return {
        **dict.fromkeys((_aten.native_layer_norm, _aten.native_group_norm), _per_output(5)),
        **dict.fromkeys(
            (
                _aten.native_batch_norm,
                _aten._native_batch_norm_legit,
                _aten._native_batch_norm_legit_no_training,
                _aten._batch_norm_with_update,
                _aten._batch_norm_no_update,
                _aten.cudnn_batch_norm,
                _aten.miopen_batch_norm,
            ),
            _per_output(2),
        ),
        **dict.fromkeys((_aten.upsample_bilinear2d, _aten._upsample_bilinear2d_aa), _per_output(4)),
        **dict.fromkeys((_aten.grid_sampler_2d, _aten._grid_sampler_2d_cpu_fallback, _aten.cudnn_grid_sampler), _per_output(4)),
        **dict.fromkeys(
            (_aten._scaled_dot_product_flash_attention_for_cpu, _aten._scaled_dot_product_fused_attention_overrideable),
            _attention,
        ),
        **dict.fromkeys((_aten._embedding_bag, _aten._embedding_bag_forward_only), _weighted_rows),
        _aten._addmm_activation: _addmm,
        _aten.mv: _mv,
    }


def _per_output(count: int) -> Formula:
    """``count`` for every element of the (first) output."""

    def formula(*args: object, out_shape: Any, **kwargs: object) -> int:
        # Normalisations give (output, mean, inverse deviation); torch hands over the shape of each.
        shape = out_shape if isinstance(out_shape, torch.Size) else out_shape[0]
        return 2 * count * prod(shape)

    return formula


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *args: object, **kwargs: object) -> int:
    """(B, heads, tokens, width) each: query-key products and the weighted sum of values."""
    *batch, tokens, width = query
    return 2 * prod(batch) * tokens * key[-2] * (width + value[-1])


def _weighted_rows(table: torch.Size, indices: torch.Size, *args: object, **kwargs: object) -> int:
    """Each index fetches a row and adds it: for deformable attention as much as ``grid_sample``, four corners a sample."""
    return 2 * prod(indices) * table[-1]


def _addmm(bias: torch.Size, a: torch.Size, b: torch.Size, *args: object, **kwargs: object) -> int:
    return 2 * a[0] * a[1] * b[1]


def _mv(matrix: torch.Size, vector: torch.Size, *args: object, **kwargs: object) -> int:
    return 2 * prod(matrix)
