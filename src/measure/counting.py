"""Multiply-adds of torch functions, counted by ``FlopCounterMode`` with fvcore's conventions."""

from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

Formula = Callable[..., int]
T = TypeVar("T")

_aten = torch.ops.aten


def count_multiply_adds(function: Callable[[], T]) -> tuple[T, int]:
    """Count the multiply-adds of a function by fvcore's conventions, which the paper's figures follow.

    One multiply-add counts 1: convolutions, matrix products and attention of every kernel. Layer and group norm count 5 per
    element, batch norm 2, bilinear resizing and ``grid_sample`` 4 per output element, ``embedding_bag`` 1 per element of each
    added row. All other operators count 0 (activations, softmax, sums, other resizing), and so does work outside torch.

    Args:
        function: function to call once, without gradients.

    Returns:
        The function's result and the count. Tensors without data (meta device) count like any other.
    """
    # The fused inference path of torch's transformer layers is one operator, which cannot be counted.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_formulas()) as counter:
            result = function()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    # The formulas of torch count a multiply-add as 2, and so do ours.
    return result, counter.get_total_flops() // 2


def _formulas() -> dict[Any, Formula]:
    """Return formulas of operators that torch's counter lacks, in its units (a multiply-add is 2)."""
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
        _aten._addmm_activation: lambda bias, a, b, *args, **kwargs: 2 * a[0] * a[1] * b[1],
        _aten.mv: lambda matrix, vector, *args, **kwargs: 2 * prod(matrix),
    }


def _per_output(count: int) -> Formula:
    """Return a formula of ``count`` multiply-adds per element of the first output."""

    def formula(*args: object, out_shape: Any, **kwargs: object) -> int:
        # Normalizations return (output, mean, inverse deviation), each with its shape.
        shape = out_shape if isinstance(out_shape, torch.Size) else out_shape[0]
        return 2 * count * prod(shape)

    return formula


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *args: object, **kwargs: object) -> int:
    """Count query-key products and the weighted sum of values; arguments (B, heads, tokens, width)."""
    *batch, tokens, width = query
    return 2 * prod(batch) * tokens * key[-2] * (width + value[-1])


def _weighted_rows(table: torch.Size, indices: torch.Size, *args: object, **kwargs: object) -> int:
    """Count the added rows; deformable attention then costs as much as by ``grid_sample``, four corners per sample."""
    return 2 * prod(indices) * table[-1]
