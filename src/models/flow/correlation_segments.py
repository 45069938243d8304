"""What the key frame's queries add to a flow: each segment's own motion on top of that of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from src.models.flow.correlation_decoder import Motion
from src.ops.precision import full_precision


class SegmentResidual(nn.Module):
    """Residual flow of each segment, and how far it is to be trusted at each position.

    A query reads the coarse motion where its segment lies (cross-attention), and its products with a map of the finest motion
    give residual and trust: 3 products of ``rank`` numbers for a query and a position, whatever the width of the network.

    Args:
        query_dim: width of the segmentor's queries.
        coarse: hidden channels of the coarse motion that queries read.
        fine: hidden channels of the finest motion.
        width: of the queries in here.
        heads: of the attention.
        rank: of the products.
    """

    def __init__(self, query_dim: int, coarse: int, fine: int, width: int = 64, heads: int = 4, rank: int = 16) -> None:
        super().__init__()
        self.rank = rank
        self.project = nn.Sequential(nn.Linear(query_dim, width), nn.LayerNorm(width))
        self.place = nn.Linear(coarse + 4, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 3 * rank))
        self.map = nn.Conv2d(fine + 2, 3 * rank, 1)
        assert self.map.bias is not None
        # Until it is trained, every segment moves as the image does: a flow trained without queries is whole as it is.
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, queries: Tensor, coarse: Motion, fine: Motion) -> Tensor:
        """Residual flow to add to that of the image.

        Args:
            queries: (B, Q, C) of the key frame.
            coarse: motion that the queries read.
            fine: motion at the grid of the result.

        Returns:
            (B, Q, 2, h, w) float32, pixels of the grid of ``fine``.
        """
        tokens = self.place(_tokens(coarse))
        asked = self.project(queries)
        asked = self.norm(asked + self.attention(asked, tokens, tokens, need_weights=False)[0])
        codes = self.mlp(asked).unflatten(-1, (3, self.rank))
        offered = self.map(torch.cat((fine.hidden, fine.flow.to(fine.hidden.dtype)), 1)).unflatten(1, (3, self.rank))
        with full_precision(offered):
            products = torch.einsum("bqkr,bkrhw->bqkhw", codes.float(), offered.float())
            return products[:, :, :2] * products[:, :, 2:].sigmoid()


def _tokens(motion: Motion) -> Tensor:
    """(B, h * w, C + 4): hidden features, flow and position of each place; flow and position in shares of the image."""
    batch, _, height, width = motion.flow.shape
    y = torch.linspace(-1, 1, height, device=motion.flow.device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=motion.flow.device).expand(height, width)
    flow = motion.flow * motion.flow.new_tensor([2 / width, 2 / height]).view(2, 1, 1)
    place = torch.cat((flow, torch.stack((x, y)).expand(batch, -1, -1, -1)), 1)
    return torch.cat((motion.hidden, place.to(motion.hidden.dtype)), 1).flatten(2).transpose(1, 2)
