"""Swin layers for inference on CPUs: a few windows at a time pass through a whole layer while in the cache."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.swin.modeling_swin import SwinAttention, SwinLayer, SwinStage

from src.models.replacement import Replacement, replace_modules
from src.ops.device import use_cpu_fast_path
from src.structures import Size

_BLOCK = 1024
"""Approximate tokens per block: 768 wide inside the feed-forward network of Swin-L's first stage, they take 3 MiB."""
_SMALL = 2048
"""Maximum tokens of a map processed at once: its layers are wide, and reading their weights costs as much as the tokens."""
_MASKED = -100.0
"""transformers' score of pairs in a shifted window that are not neighbors in the image."""


@dataclass(frozen=True)
class Windows:
    """Some windows of a map, or of a batch of maps.

    Attributes:
        tokens: (T,) indices of the tokens inside, window by window, without padding.
        places: (W * N,) index into ``tokens`` of each place of each window, T for padding; ``None``: no padding.
        place_of_token: (T,), the inverse of ``places``.
        count: W.
        masks: (M, N, N), added to the scores of the last M windows; the others have none.
    """

    tokens: Tensor
    places: Tensor | None
    place_of_token: Tensor
    count: int
    masks: Tensor


@lru_cache(maxsize=32)
def windows_of(size: Size, side: int, shift: int, batch: int, tokens_at_once: int) -> tuple[Windows, ...]:
    """Cut maps into windows as Swin does (Liu et al. 2021, section 3.2): padded at the right and bottom, shifted cyclically.

    Args:
        size: (h, w) of a map.
        side: of a window.
        shift: up and left, 0 for none.
        batch: number of maps.
        tokens_at_once: approximate number of tokens per block.
    """
    height, width = size
    padded = -(-height // side) * side, -(-width // side) * side
    numbers = torch.arange(batch * height * width).view(batch, height, width)
    numbers = F.pad(numbers, (0, padded[1] - width, 0, padded[0] - height), value=-1)
    inside = _cut(numbers.roll((-shift, -shift), (1, 2)), side)
    # Places that the shift brought from both ends of the image into one window do not attend to each other.
    row, column = (_regions(length, side, shift) for length in padded)
    regions = _cut((3 * row[:, None] + column).expand(batch, -1, -1), side)
    apart = (regions != regions[:, :1]).any(1)
    order = apart.to(torch.int8).argsort(stable=True)
    blocks = torch.split(order, max(1, tokens_at_once // side**2))
    return tuple(_windows(inside[block], regions[block[apart[block]]]) for block in blocks)


def _regions(length: int, side: int, shift: int) -> Tensor:
    """Return (length,) 0, 1 or 2: before the last window, in it, or brought there by the shift from the other end."""
    places = torch.arange(length)
    return (places >= length - side).long() + (places >= length - shift).long()


def _cut(maps: Tensor, side: int) -> Tensor:
    """Cut (B, H, W) into windows (W, N)."""
    batch, height, width = maps.shape
    return maps.reshape(batch, height // side, side, width // side, side).transpose(2, 3).reshape(-1, side**2)


def _windows(inside: Tensor, regions: Tensor) -> Windows:
    """Build windows from the tokens at their places (W, N), -1 for padding, and the regions (M, N) of the last M."""
    exists = inside.flatten() >= 0
    places = None if exists.all() else torch.where(exists, exists.cumsum(0) - 1, exists.sum())
    masks = (regions[:, None] != regions[:, :, None]) * _MASKED
    return Windows(inside.flatten()[exists], places, exists.nonzero().flatten(), len(inside), masks)


class WindowedLayer(Replacement, SwinLayer):  # type: ignore[misc]
    """Replacement of transformers' layer.

    In inference mode on a CPU it is equal to float rounding: windows are gathered and scattered once, padding skips the
    projections (its result is their bias), and attention runs on blocks whose scores fit into the cache.
    """

    def forward(
        self, hidden_states: Tensor, input_dimensions: Size, always_partition: bool = False, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Return a pair whose first item is (B, h * w, C), as the input; the argument names are transformers'."""
        if not use_cpu_fast_path(hidden_states) or self.training or not always_partition or options:
            result: tuple[Tensor, Tensor] = super().forward(hidden_states, input_dimensions, always_partition, **options)
            return result
        batch, count, width = hidden_states.shape
        at_once = batch * count if batch * count <= _SMALL else _BLOCK
        weight, bias = _joined(self.attention)
        table = self.attention.relative_position_bias()[0]
        tokens = hidden_states.reshape(-1, width)
        updated = torch.empty_like(tokens)
        size = (int(input_dimensions[0]), int(input_dimensions[1]))
        for windows in windows_of(size, self.window_size, self.shift_size, batch, at_once):
            some = tokens.index_select(0, windows.tokens)
            projected = _project(self.layernorm_before(some), weight, bias, windows)
            attended = _attend(projected, windows, table, self.attention.scaling)
            if windows.places is not None:
                attended = attended.index_select(0, windows.place_of_token)
            some = some.add_(self.attention.o_proj(attended))
            some = some.add_(self.mlp(self.layernorm_after(some)))
            updated.index_copy_(0, windows.tokens, some)
        return updated.view_as(hidden_states), None


class ViewedStage(Replacement, SwinStage):  # type: ignore[misc]
    """Replacement of transformers' stage, whose features are a view of the tokens, as the next norm reads them."""

    def get_reshaped_hidden_states(
        self,
        hidden_states: Tensor,
        hidden_states_before_downsampling: Tensor,
        height: int,
        width: int,
        output_hidden_states_before_downsampling: bool,
    ) -> Tensor:
        """Return features (B, C, h, w) of tokens (B, h * w, C)."""
        if not output_hidden_states_before_downsampling or not use_cpu_fast_path(hidden_states):
            features: Tensor = super().get_reshaped_hidden_states(
                hidden_states, hidden_states_before_downsampling, height, width, output_hidden_states_before_downsampling
            )
            return features
        batch, _, channels = hidden_states_before_downsampling.shape
        return hidden_states_before_downsampling.mT.view(batch, channels, height, width)


def speed_up_swin(backbone: nn.Module) -> None:
    """Replace the layers of transformers' Swin; other backbones are unchanged."""
    replace_modules(backbone, SwinLayer, WindowedLayer)
    replace_modules(backbone, SwinStage, ViewedStage)


def _joined(attention: SwinAttention) -> tuple[Tensor, Tensor]:
    """Concatenate the weights (3 * C, C) and biases (3 * C,) of queries, keys and values."""
    layers: list[nn.Linear] = [attention.q_proj, attention.k_proj, attention.v_proj]
    weight = torch.cat([layer.weight for layer in layers])
    return weight, torch.cat([x.bias if x.bias is not None else x.weight.new_zeros(x.out_features) for x in layers])


def _project(tokens: Tensor, weight: Tensor, bias: Tensor, windows: Windows) -> Tensor:
    """Project tokens (T, C) to (W * N, 3 * C)."""
    if windows.places is None:
        return F.linear(tokens, weight, bias)
    projected = tokens.new_empty(len(tokens) + 1, len(weight))
    torch.addmm(bias, tokens, weight.T, out=projected[:-1])
    # Padding is zero, so its projection is the bias.
    projected[-1] = bias
    return projected.index_select(0, windows.places)


def _attend(projected: Tensor, windows: Windows, table: Tensor, scaling: float) -> Tensor:
    """Compute attention within each window, (W * N, C).

    Args:
        projected: (W * N, 3 * C), queries, keys and values of every place.
        windows: windows of these places.
        table: (heads, N, N), biases of the places' distances.
        scaling: factor of the products.
    """
    heads, places, _ = table.shape
    queries, keys, values = projected.view(windows.count, places, 3, heads, -1).unbind(2)
    attended = torch.empty(queries.shape, dtype=queries.dtype)
    # One head of all windows at a time: a batch of matrices with equal strides, without a copy.
    for head, bias in enumerate(table):
        scores = torch.baddbmm(bias.expand(windows.count, -1, -1), queries[:, :, head], keys[:, :, head].mT, alpha=scaling)
        scores[windows.count - len(windows.masks) :] += windows.masks
        attended[:, :, head] = torch.bmm(scores.softmax(-1), values[:, :, head])
    return attended.view(len(projected), -1)
