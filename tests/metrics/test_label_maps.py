"""Every way in which label maps can be wrong is named."""

import pytest
import torch

from src.metrics.label_maps import check_label_maps
from src.structures import IGNORE_INDEX


def test_good_maps_pass() -> None:
    check_label_maps(torch.tensor([[0, 4, 2]]), torch.tensor([[4, IGNORE_INDEX, 0]]), 5)


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3).long(), "prediction is torch.float32 and label torch.int64"),
        (torch.zeros(2, 3).long(), torch.zeros(2, 3, dtype=torch.uint8), "label torch.uint8"),
        (torch.zeros(2, 3).long(), torch.zeros(3, 2).long(), r"prediction \(2, 3\) and label \(3, 2\)"),
        (torch.tensor([[0, 5]]), torch.tensor([[0, 0]]), r"prediction has values \[5\]; expected 0..4"),
        (torch.tensor([[0, IGNORE_INDEX]]), torch.tensor([[0, 0]]), r"prediction has values \[255\]"),
        (torch.tensor([[0, 0]]), torch.tensor([[-1, 9]]), r"label has values \[-1, 9\]; expected 0..4 or 255"),
    ],
)
def test_bad_maps_are_named(prediction: torch.Tensor, label: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_label_maps(prediction, label, 5)
