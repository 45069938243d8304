"""Add a flow estimator in one file: one translation for the whole image, found by phase correlation."""

import cv2
import torch
from torch import Tensor

from src import FlowEstimator
from src.models.flow.dis import grey
from src.ops.padding import padded_size
from src.structures import FlowPrediction


class GlobalTranslation(FlowEstimator):
    def forward(self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, key_features: object = None) -> FlowPrediction:
        size = (key_image.shape[-2], key_image.shape[-1])
        padded = padded_size(size, 32)
        pairs = zip(key_image, nonkey_image, strict=True)
        shifts = [cv2.phaseCorrelate(grey(nonkey, size) / 1.0, grey(key, size) / 1.0)[0] for key, nonkey in pairs]
        # Backward flow in pixels of its own grid, here a quarter of the padded image: (B, 1, 2, h, w), one for all segments.
        flow = torch.tensor(shifts, dtype=torch.float32)[:, None, :, None, None] / 4
        return FlowPrediction(flow.expand(-1, 1, 2, padded[0] // 4, padded[1] // 4), (), padded)

    def config(self) -> dict[str, object]:
        return {}
