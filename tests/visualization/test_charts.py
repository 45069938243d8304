"""Laws of the charts: what they show follows the numbers."""

import pytest
import torch
from torch import Tensor

from src.visualization.charts import confusion_picture, offset_picture, sweep_picture

NAMES = ("sky", "road", "tree", "car")


def blue(picture: Tensor) -> int:
    """Pixels of the darkest cells."""
    red, green, channel = picture.int()
    return int(((red < 40) & (green < 90) & (channel > 90) & (channel < 180)).sum())


def test_a_perfect_matrix_is_dark_only_on_its_diagonal() -> None:
    perfect, half = torch.diag(torch.tensor([5, 70, 900, 11])), torch.full((4, 4), 25)
    assert confusion_picture(perfect, NAMES).dtype == torch.uint8
    # The color bar is the same.
    assert blue(confusion_picture(perfect, NAMES)) - blue(confusion_picture(half, NAMES)) > 4 * 30**2


def test_rows_are_shares_of_their_class() -> None:
    """Ten times the pixels of a class change nothing."""
    confusion = torch.tensor([[8, 2], [1, 3]])
    assert torch.equal(
        confusion_picture(confusion, NAMES[:2]), confusion_picture(confusion * torch.tensor([[10], [1]]), NAMES[:2])
    )
    assert not torch.equal(confusion_picture(confusion, NAMES[:2]), confusion_picture(confusion.T, NAMES[:2]))


def test_absent_classes_are_left_out() -> None:
    confusion = torch.zeros(40, 40, dtype=torch.int64)
    confusion[:2, :3] = 5
    few = confusion_picture(confusion, [str(k) for k in range(40)])
    assert few.shape == confusion_picture(confusion[:3, :3], ["0", "1", "2"]).shape
    many = confusion_picture(torch.eye(124), [f"class_{k}" for k in range(124)])
    assert many.shape[-1] > 2 * few.shape[-1]


def test_offset_panels_show_their_curves() -> None:
    curves = {"query": {0: 0.8, 1: 0.7, 2: 0.65}, "copy": {0: 0.8, 1: 0.6, 2: 0.5}}
    one, two = offset_picture({3: curves}, 0.8), offset_picture({3: curves, 5: curves}, 0.8)
    assert one.shape[0] == 3 and two.shape[1] == one.shape[1] and two.shape[2] > 1.8 * one.shape[2]
    assert not torch.equal(one, offset_picture({3: curves}, None))
    assert not torch.equal(one, offset_picture({3: {**curves, "copy": {0: 0.8, 1: 0.6, 2: 0.4}}}, 0.8))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"confusion matrix is \(4, 4\) for 2 class names"):
        confusion_picture(torch.eye(4), NAMES[:2])
    with pytest.raises(ValueError, match="there is no key interval"):
        offset_picture({})


def test_a_sweep_shows_its_points_and_is_of_one_height_for_numbers() -> None:
    numbers = sweep_picture({"query": {"0": [50.0], "10": [60.0], "9": [58.0]}}, "layers", "mIoU, %")
    assert not torch.equal(numbers, sweep_picture({"query": {"0": [50.0], "10": [60.0], "9": [52.0]}}, "layers", "mIoU, %"))
    # The order of the runs is not that of the numbers.
    assert torch.equal(numbers, sweep_picture({"query": {"10": [60.0], "9": [58.0], "0": [50.0]}}, "layers", "mIoU, %"))
    few, many = ({"": {name: [float(len(name))] for name in NAMES[:count]}} for count in (2, 4))
    assert sweep_picture(many, "flow", "mIoU, %").shape[1] > sweep_picture(few, "flow", "mIoU, %").shape[1]
    repeated = sweep_picture({"": {"sky": [3.0], "road": [3.0, 5.0]}}, "flow", "mIoU, %")
    assert not torch.equal(repeated, sweep_picture({"": {"sky": [3.0], "road": [4.0]}}, "flow", "mIoU, %"))
    with pytest.raises(ValueError, match="there is no result of mIoU"):
        sweep_picture({}, "flow", "mIoU")
