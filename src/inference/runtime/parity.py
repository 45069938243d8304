"""Comparison of a runtime's results with those of eager torch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from src.ops.masks import semantic_map, semantic_scores
from src.structures import MaskPrediction

MOST_LABELS = 1e-3
"""Largest share of pixels with another label, near ties left out."""


@dataclass(frozen=True)
class Parity:
    """Deviation of a prediction.

    Attributes:
        masks: norm of the difference of the mask logits, relative to their norm.
        largest: largest difference of a mask logit.
        different: share of pixels with another label.
        labels: the same without near ties, pixels whose two best scores differ by less than twice the tolerance.
        tolerance: largest ``masks``.
    """

    masks: float
    largest: float
    different: float
    labels: float
    tolerance: float

    @property
    def is_within(self) -> bool:
        """Return whether masks and labels are within the tolerance; NaN is not."""
        return self.masks <= self.tolerance and self.labels <= MOST_LABELS

    def __str__(self) -> str:
        return (
            f"masks deviate by {self.masks:.1e} (at most {self.tolerance:g}), labels on {self.labels:.3%} of the pixels "
            f"(at most {MOST_LABELS:.1%})"
        )


def tolerance(autocast: torch.dtype | None, device: torch.device) -> float:
    """Return the largest relative deviation of mask logits in a precision."""
    if autocast is not None:
        return 5e-2
    # Convolutions use TF32 by default.
    return 1e-2 if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else 1e-4


def compare(found: MaskPrediction, expected: MaskPrediction, tolerance: float) -> Parity:
    """Compare predictions of the same frames."""
    masks, reference = found.mask_logits.float(), expected.mask_logits.float()
    difference = masks - reference
    different = semantic_map(found) != semantic_map(expected)
    share = float(different.float().mean())
    return Parity(
        float(difference.norm() / reference.norm().clamp(min=1e-12)),
        float(difference.abs().max()),
        share,
        share if share == 0 else float((different & ~_near_ties(expected, 2 * tolerance)).float().mean()),
        tolerance,
    )


def _near_ties(prediction: MaskPrediction, margin: float) -> Tensor:
    scores = semantic_scores(prediction)
    if scores.shape[1] == 1:
        return (scores[:, 0] - 0.5).abs() <= margin
    best = scores.topk(2, dim=1).values
    return best[:, 0] - best[:, 1] <= margin
