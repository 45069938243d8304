"""Pixel features whose products with the queries' embeddings are the mask logits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from src.ops.channels_last import downsample
from src.structures import Size


@dataclass(frozen=True)
class MaskFeatures:
    """Mask features before or after the pixel decoder's last layer.

    That layer is linear, and there are fewer queries than pixels, so its weights can multiply the queries instead.

    Attributes:
        maps: (B, C, h, w).
        weight: (C', C) of the pending layer; ``None``: already applied.
        bias: (C',) of that layer.
    """

    maps: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None

    def at(self, size: Size) -> MaskFeatures:
        """Downsample to (h, w); a layer of single pixels commutes with a weighted mean of pixels."""
        return replace(self, maps=downsample(self.maps, size))

    def masks(self, embeddings: Tensor) -> Tensor:
        """Return mask logits (B, Q, h, w) of embeddings (B, Q, C')."""
        if self.weight is None:
            logits = embeddings @ self.maps.flatten(2)
        else:
            # Embeddings are few, and their rounding would affect every pixel.
            precise = embeddings.double()
            folded = (precise @ self.weight.double()).to(embeddings.dtype)
            logits = folded @ self.maps.flatten(2)
            if self.bias is not None:
                logits += (precise @ self.bias.double()).to(embeddings.dtype)[..., None]
        return logits.view(*logits.shape[:2], *self.maps.shape[2:])

    def projected(self) -> Tensor:
        """Return (B, C', h, w), with all layers applied."""
        if self.weight is None:
            return self.maps
        return F.conv2d(self.maps, self.weight[..., None, None], self.bias)
