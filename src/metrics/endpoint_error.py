"""End-point error of optical flow."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric


class EndPointError(Metric):
    """Mean end-point error and outlier rate over all pixels with known flow.

    The end-point error is the Euclidean distance of a vector from the true one (Otte and Nagel, ECCV 1994). An outlier errs by
    more than 3 px **and** more than 5 % of the true vector's length (Fl of KITTI 2015; Menze and Geiger, CVPR 2015).
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

    def update(self, flow: Float[Tensor, "*batch 2 H W"], target: Float[Tensor, "*batch 2 H W"]) -> None:
        """Add the errors of flow maps.

        Args:
            flow: predicted vectors, pixels of this grid.
            target: true vectors; NaN where unknown.

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
            wrong = int((~error.isfinite()).sum())
            raise ValueError(f"flow is NaN or infinite at {wrong} of {error.numel()} known pixels; expected finite values")
        length = torch.linalg.vector_norm(target.double(), dim=-3)[known]
        self.total += error.sum()
        self.outliers += ((error > 3) & (error > 0.05 * length)).sum()
        self.known += error.numel()

    def compute(self) -> dict[str, Tensor]:
        """Compute ``epe`` (pixels) and ``outlier_rate`` (0..1) as float64 scalars; NaN without known pixels."""
        return {"epe": self.total / self.known, "outlier_rate": self.outliers.double() / self.known}
