"""The estimator that estimates nothing: the key frame's masks stay where they are."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from src.models.flow.base import FlowEstimator, check_pair
from src.ops.padding import padded_size
from src.structures import FlowPrediction


class CopyFlow(FlowEstimator):
    """No motion: one zero flow for all segments. The floor that every other estimator has to beat.

    Args:
        size_divisor: the padded image is a multiple of this; the flow has one vector per block of that size.
    """

    method_names: ClassVar[tuple[str, ...]] = ("copy",)
    training_free: ClassVar[bool] = True

    def __init__(self, size_divisor: int = 32) -> None:
        super().__init__()
        self.size_divisor = size_divisor

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"size_divisor": self.size_divisor}

    def forward(
        self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Zero flow (B, 1, 2, h, w), float32, on the images' device; see :meth:`FlowEstimator.forward`."""
        check_pair(key_image, nonkey_image)
        batch, _, height, width = key_image.shape
        size = padded_size((height, width), self.size_divisor)
        grid = size[0] // self.size_divisor, size[1] // self.size_divisor
        return FlowPrediction(key_image.new_zeros((batch, 1, 2, *grid), dtype=torch.float32), (), size)
