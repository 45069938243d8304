"""How far predicted flow points from where it should."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class EndPointError(Metric):
    """Mean end-point error and outlier rate over all known pixels.

    An outlier is more than 3 px **and** more than 5 % of the true vector's length off (KITTI 2015's Fl).
    """

    full_state_update = False
    higher_is_better = False
    total: Tensor
    outliers: Tensor
    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outliers", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("known", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, flow: Tensor, target: Tensor) -> None:
        """Count the errors of flow maps.

        Args:
            flow: (..., 2, H, W), pixels of this grid.
            target: (..., 2, H, W), the same; NaN where it is unknown.

        Raises:
            ValueError: if the shapes differ or the flow is not finite at a known pixel.
        """
        if flow.shape != target.shape or flow.ndim < 3 or flow.shape[-3] != 2:
            raise ValueError(
                f"flow {tuple(flow.shape)} and target {tuple(target.shape)}; expected the same (..., 2, H, W) for both"
            )
        known = target.isfinite().all(-3)
        error = torch.linalg.vector_norm(flow.double() - target.double(), dim=-3)[known]
        if not error.isfinite().all():
            raise ValueError(f"flow is NaN or infinite at {int((~error.isfinite()).sum())} of {error.numel()} known pixels")
        length = torch.linalg.vector_norm(target.double(), dim=-3)[known]
        self.total += error.sum()
        self.outliers += ((error > 3) & (error > 0.05 * length)).sum()
        self.known += error.numel()

    def compute(self) -> dict[str, Tensor]:
        """``epe`` in pixels and ``outlier_rate`` 0..1, float64 scalars; NaN where no pixel was known."""
        return {"epe": self.total / self.known, "outlier_rate": self.outliers.double() / self.known}
