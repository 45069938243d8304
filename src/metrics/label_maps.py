"""Validation of label maps."""

import torch
from torch import Tensor

from src.structures import IGNORE_INDEX


def check_label_maps(prediction: Tensor, label: Tensor, num_classes: int = IGNORE_INDEX) -> None:
    """Check a prediction, (..., H, W) int64, 0..K-1, and a label of its shape and type, 0..K-1 or ``IGNORE_INDEX``.

    Raises:
        ValueError: if shapes or types differ or a value is out of range.
    """
    if prediction.shape != label.shape or label.ndim < 2:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)}; expected the same (..., H, W) for both"
        )
    if prediction.dtype != torch.int64 or label.dtype != torch.int64:
        raise ValueError(f"prediction is {prediction.dtype} and label {label.dtype}; expected torch.int64 for both")
    _check_values("prediction", prediction, (prediction < 0) | (prediction >= num_classes), f"0..{num_classes - 1}")
    wrong = (label < 0) | ((label >= num_classes) & (label != IGNORE_INDEX))
    _check_values("label", label, wrong, f"0..{num_classes - 1} or {IGNORE_INDEX}")


def _check_values(name: str, values: Tensor, wrong: Tensor, expected: str) -> None:
    if wrong.any():
        raise ValueError(f"{name} has values {torch.unique(values[wrong]).tolist()[:10]}; expected {expected}")
