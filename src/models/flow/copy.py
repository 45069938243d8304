"""Zero motion: the key frame's masks stay where they are."""

from typing import ClassVar

import torch
from torch import Tensor

from src.models.flow.base import FlowEstimator, Images, QueryEmbeddings, check_pair
from src.structures import FlowPrediction


class CopyFlow(FlowEstimator):
    """One zero flow for all segments, the baseline of every other estimator.

    Args:
        size_divisor: the padded image is a multiple of this; the flow has one vector per block of that size.
    """

    method_names: ClassVar[tuple[str, ...]] = ("copy",)
    training_free: ClassVar[bool] = True

    def __init__(self, size_divisor: int = 32) -> None:
        super().__init__(locals())
        self.size_divisor = size_divisor

    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Return zero flow (B, 1, 2, h, w), float32, on the images' device."""
        padded = check_pair(key_image, nonkey_image, self.size_divisor)
        grid = padded[0] // self.size_divisor, padded[1] // self.size_divisor
        return FlowPrediction(key_image.new_zeros((len(key_image), 1, 2, *grid), dtype=torch.float32), (), padded)
