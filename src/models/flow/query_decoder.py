"""Query part of the paper's flow decoder: queries and image features attend to one another."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.ops.sine_positions import sine_positions
from src.structures import Size


class QueryDecoder(nn.Module):
    """Joint self-attention over [queries ; features of one level], one level per layer (paper section 3.2).

    Each layer updates the queries and the features of its level; layer n uses level n modulo the number of levels.

    Args:
        level_channels: channels of the feature levels in the order of the layers (coarse to fine).
        num_queries: Q; every query position has a learned embedding.
        hidden_dim: C, width of the attention.
        num_heads: heads of the attention.
        ffn_dim: hidden width of the feed-forward layers.
        num_layers: number of layers; 0 leaves the queries unchanged and only projects the features.
    """

    def __init__(
        self, level_channels: Sequence[int], num_queries: int, hidden_dim: int, num_heads: int, ffn_dim: int, num_layers: int
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(_projection(width, hidden_dim) for width in level_channels)
        self.level_embed = nn.Embedding(len(level_channels), hidden_dim)
        self.layers = nn.ModuleList(JointLayer(hidden_dim, num_heads, ffn_dim) for _ in range(num_layers))
        # Without a layer it would get no gradient, and DDP waits for every gradient.
        self.query_embed = nn.Embedding(num_queries, hidden_dim) if num_layers else None

    def forward(self, queries: Tensor, features: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Update queries (B, Q, C), and refine levels of features (B, C_i, h_i, w_i) to (B, C, h_i, w_i)."""
        sizes: list[Size] = [(level.shape[-2], level.shape[-1]) for level in features]
        projected = [_project(projection, level) for projection, level in zip(self.projections, features, strict=True)]
        tokens = [level + self.level_embed.weight[i] for i, level in enumerate(projected)]
        if self.query_embed is not None:
            dtype = torch.promote_types(queries.dtype, torch.float32)
            positions = [sine_positions(size, queries.shape[-1], dtype, queries.device) for size in sizes]
            num_queries = queries.shape[1]
            for number, layer in enumerate(self.layers):
                i = number % len(tokens)
                # The embeddings are part of values and residual, so every layer adds them again.
                joint = torch.cat((queries + self.query_embed.weight, tokens[i] + positions[i]), dim=1)
                queries, tokens[i] = layer(joint).split((num_queries, tokens[i].shape[1]), dim=1)
        return queries, tuple(level.mT.view(*level.mT.shape[:2], *size) for level, size in zip(tokens, sizes, strict=True))


class JointLayer(nn.Module):
    """Post-norm transformer layer: self-attention over all tokens, then a feed-forward network.

    Args:
        dim: C, width of the tokens.
        num_heads: divides ``dim``.
        ffn_dim: hidden width of the feed-forward network.

    Raises:
        ValueError: if ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"hidden_dim is {dim}; expected a multiple of num_heads={num_heads}")
        self.num_heads = num_heads
        self.attention_in = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.ffn_in = nn.Linear(dim, ffn_dim)
        self.ffn_out = nn.Linear(ffn_dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        for layer in (self.attention_in, self.attention_out, self.ffn_in, self.ffn_out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Update tokens (B, N, C)."""
        heads = self.attention_in(tokens).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads.unbind(0)).transpose(1, 2).flatten(2)
        tokens = self.attention_norm(tokens + self.attention_out(attended))
        inside = self.ffn_in(tokens)
        # In place if no gradient needs the layer's output.
        inside = inside.relu_() if torch.is_inference_mode_enabled() else F.relu(inside)
        updated: Tensor = self.ffn_norm(tokens + self.ffn_out(inside))
        return updated


def _project(layer: nn.Module, level: Tensor) -> Tensor:
    """Project a level (B, C_i, h, w) to tokens (B, h * w, C); with channels last this is one product without copies."""
    assert isinstance(layer, nn.Conv2d)
    return F.linear(level.flatten(2).mT, layer.weight.flatten(1), layer.bias)


def _projection(inside: int, outside: int) -> nn.Conv2d:
    layer = nn.Conv2d(inside, outside, 1)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
