"""Validation of label maps."""

import torch
from torch import Tensor

from src.structures import IGNORE_INDEX


def check_label_maps(prediction: Tensor, label: Tensor, num_classes: int | None = None) -> None:
    """Check a prediction, (..., H, W) int64, and a label of its shape and type, 0..K-1 or ``IGNORE_INDEX``.

    Predictions are 0..K-1; for K = 1, or an unknown K, also ``IGNORE_INDEX``, the background of a single class.

    Raises:
        ValueError: if shapes or types differ or a value is out of range.
    """
    if prediction.shape != label.shape or label.ndim < 2:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)}; expected the same (..., H, W) for both"
        )
    if prediction.dtype != torch.int64 or label.dtype != torch.int64:
        raise ValueError(f"prediction is {prediction.dtype} and label {label.dtype}; expected torch.int64 for both")
    limit = IGNORE_INDEX if num_classes is None else num_classes
    wrong = (prediction < 0) | (prediction >= limit)
    if num_classes in (None, 1):
        wrong &= prediction != IGNORE_INDEX
    _check_values("prediction", prediction, wrong, f"0..{limit - 1}")
    wrong = (label < 0) | ((label >= limit) & (label != IGNORE_INDEX))
    _check_values("label", label, wrong, f"0..{limit - 1} or {IGNORE_INDEX}")


def _check_values(name: str, values: Tensor, wrong: Tensor, expected: str) -> None:
    if wrong.any():
        raise ValueError(f"{name} has values {torch.unique(values[wrong]).tolist()[:10]}; expected {expected}")
