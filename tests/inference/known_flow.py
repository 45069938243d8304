"""Flow estimator with a given flow, to test code that uses flows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from src.models.flow import FlowEstimator
from src.structures import FlowPrediction


class ConstantFlow(FlowEstimator):
    """Same vector at every pixel, on a grid of half the image size, without padding."""

    def __init__(self, dx: float, dy: float = 0.0) -> None:
        super().__init__()
        self.vector = dx, dy

    def config(self) -> dict[str, Any]:
        return {"dx": self.vector[0], "dy": self.vector[1]}

    def forward(self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, *rest: Any) -> FlowPrediction:
        height, width = key_image.shape[-2:]
        # Pixels of the coarser grid.
        flow = torch.tensor(self.vector).view(1, 1, 2, 1, 1).expand(1, 1, 2, height // 2, width // 2) / 2
        return FlowPrediction(flow, (), (height, width))
