"""Flow of each segment from its query, and its fusion with the flow of the whole image."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.ops.device import full_precision, in_inference

FuseInit = Literal["pixel", "reference"]

MAP_INIT_SCALE = 0.3
"""Initial scale of the motion map's last layer, so that every segment starts close to the flow of the image."""

_BLOCK = 1024
"""Pixels per block in inference on CPUs: their features of width 512 fit into a core's cache."""


class SegmentFlowHead(nn.Module):
    """Query flow as the product of queries and motion map (paper section 3.2), x = map[C:], y = map[:C].

    Args:
        hidden_dim: C, width of the queries.
        feature_channels: channels of the finest features.
        mlp_dim: hidden width of both MLPs.
    """

    def __init__(self, hidden_dim: int, feature_channels: int, mlp_dim: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(hidden_dim)
        self.query_mlp = _mlp(hidden_dim, mlp_dim, hidden_dim)
        self.map_mlp = _mlp(feature_channels, mlp_dim, 2 * hidden_dim)
        last = self.map_mlp[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(MAP_INIT_SCALE)
            last.bias.zero_()

    def motion_map(self, features: Tensor) -> Tensor:
        """Map raw features (B, C_f, h, w) at 1/8 of the image to the factors (B, h, w, 2 * C) of the queries."""
        result: Tensor = self.map_mlp(features.permute(0, 2, 3, 1))
        return result

    def forward(self, queries: Tensor, features: Tensor) -> Tensor:
        """Compute one flow per decoded query (B, Q, C): (B, Q, 2, h, w), x before y, in the precision of the weights."""
        queries = self.query_mlp(self.query_norm(queries))
        if in_inference():
            return self._folded(queries, features)
        maps = self.motion_map(features).flatten(1, 2)
        with full_precision(maps):
            dtype = self.query_norm.weight.dtype
            # (B, 1, Q, C) times (B, 2, C, h * w): both directions of all queries in one product, y before x.
            flow = queries.to(dtype)[:, None] @ maps.to(dtype).reshape(*maps.shape[:2], 2, -1).permute(0, 2, 3, 1)
            return flow.flip(1).transpose(1, 2).reshape(*queries.shape[:2], 2, *features.shape[-2:])

    def _folded(self, queries: Tensor, features: Tensor) -> Tensor:
        """Compute the flow of queries (B, Q, C) after their MLP, equal to rounding, with a third of the multiply-adds.

        The last layer of the map is linear, and queries are fewer than pixels, so its weights are multiplied by the queries.
        """
        first, second, last = (layer for layer in self.map_mlp if isinstance(layer, nn.Linear))
        dtype = last.weight.dtype
        with full_precision(queries):
            # The weights are ordered y, x.
            width = last.out_features // 2
            weight, bias = last.weight.view(2, width, -1).flip(0), last.bias.view(2, width).flip(0)
            directed = (queries.to(dtype)[:, None] @ weight).transpose(1, 2).flatten(1, 2)
            shift = (queries.to(dtype) @ bias.T).flatten(1)[..., None]
        pixels = features.flatten(2).mT
        if pixels.device.type != "cpu" or torch.compiler.is_exporting():
            hidden = F.relu(second(F.relu(first(pixels))))
            with full_precision(queries):
                whole = torch.baddbmm(shift, directed, hidden.to(dtype).mT)
                return whole.reshape(*queries.shape[:2], 2, *features.shape[-2:])
        flows = directed.new_empty(*directed.shape[:2], pixels.shape[1])
        for some, out in zip(torch.split(pixels, _BLOCK, dim=1), torch.split(flows, _BLOCK, dim=2), strict=True):
            hidden = second(first(some).relu_()).relu_()
            with full_precision(queries):
                out.copy_(torch.baddbmm(shift, directed, hidden.to(dtype).mT))
        return flows.reshape(*queries.shape[:2], 2, *features.shape[-2:])


class FlowFusion(nn.Module):
    """3x3 convolution of [pixel flow ; query flow] to the flow of each segment (paper section 3.2).

    Args:
        init: ``pixel`` starts as the sum of both flows. The query flow is near zero then, so every segment moves like the image
            and every parameter learns from the first step. ``reference`` starts with weight 0 and bias 1 like the published
            code: the flow is 1 everywhere, and only this layer learns at the first step.
    """

    def __init__(self, init: FuseInit = "pixel") -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 2, 3, padding=1)
        if init not in ("pixel", "reference"):
            raise ValueError(f"fuse_init is {init!r}; expected 'pixel' or 'reference'")
        bias = self.conv.bias
        assert bias is not None
        with torch.no_grad():
            self.conv.weight.zero_()
            bias.fill_(1.0 if init == "reference" else 0.0)
            if init == "pixel":
                identity = torch.eye(2, device=bias.device, dtype=bias.dtype)
                self.conv.weight[:, :, 1, 1] = identity.repeat(1, 2)

    def forward(self, pixel_flow: Tensor, query_flow: Tensor) -> Tensor:
        """Fuse (B, 2, h, w) and (B, Q, 2, h, w) to segment_flow (B, Q, 2, h, w), in the precision of the weights."""
        weight, bias = self.conv.weight, self.conv.bias
        with full_precision(query_flow):
            # The pixel flow is the same for all queries, so its half of the convolution runs once instead of Q times.
            image = F.conv2d(pixel_flow.to(weight.dtype), weight[:, :2], bias, padding=1)
            if torch.is_inference_mode_enabled() and query_flow.device.type == "cpu":
                # A grouped convolution, one group per query, needs no copies.
                pairs = query_flow.shape[1]
                flows = query_flow.to(weight.dtype).flatten(1, 2)
                segments = F.conv2d(flows, weight[:, 2:].repeat(pairs, 1, 1, 1), padding=1, groups=pairs)
                return segments.view(query_flow.shape).add_(image[:, None])
            # Channels last halves the time of a convolution this narrow on CPUs.
            flows = query_flow.to(weight.dtype).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            segments = F.conv2d(flows, weight[:, 2:], padding=1).contiguous()
            fused: Tensor = segments.reshape(query_flow.shape) + image[:, None]
            return fused


def _mlp(inside: int, hidden: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outside))
