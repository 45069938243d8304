"""Laws of temporal consistency by warping."""

import pytest
import torch
from torch import Tensor

from src.metrics.temporal_consistency import TemporalConsistency


def shift(dx: float, dy: float, size: tuple[int, int] = (8, 10)) -> Tensor:
    """The flow of a picture that moves as one by (dx, dy)."""
    return torch.tensor([float(dx), float(dy)]).view(2, 1, 1).expand(2, *size).clone()


def score(previous: Tensor, current: Tensor, backward: Tensor, forward: Tensor) -> float:
    metric = TemporalConsistency()
    metric.update(previous, current, backward, forward)
    return metric.compute().item()


def test_maps_that_move_with_the_image_are_consistent() -> None:
    """The world moves right by 3 px, down by 1: backward flow (-3, -1)."""
    world = torch.randint(0, 5, (20, 30))
    previous, current = world[5:13, 10:20], world[4:12, 7:17]
    assert score(previous, current, shift(-3, -1), shift(3, 1)) == 1
    assert score(previous, previous, shift(-3, -1), shift(3, 1)) < 0.5
    assert score(previous, previous, shift(0, 0), shift(0, 0)) == 1


def test_pixels_from_outside_do_not_count() -> None:
    previous = torch.zeros(8, 10).long()
    current = previous.clone()
    current[:, :3] = 1  # what came in from the left
    assert score(previous, current, shift(-3, 0), shift(3, 0)) == 1
    metric = TemporalConsistency()
    metric.update(previous, current, shift(-3, 0), shift(3, 0))
    assert metric.visible == 8 * 7


def test_occluded_pixels_do_not_count() -> None:
    """Columns 4 and 5 of the later frame were behind something: their source moves elsewhere."""
    backward, forward = shift(0, 0), shift(0, 0)
    forward[0, :, 4:6] = 2.0
    previous = torch.zeros(8, 10).long()
    current = previous.clone()
    current[:, 4:6] = 3
    assert score(previous, current, backward, forward) == 1


def test_the_share_is_over_all_pixels_of_all_pairs() -> None:
    metric = TemporalConsistency()
    small, large = torch.zeros(2, 2).long(), torch.zeros(8, 10).long()
    still, wide = shift(0, 0, (2, 2)), shift(0, 0)
    metric.update(small, small + 1, still, still)
    metric.update(large, large, wide, wide)
    assert metric.compute().item() == pytest.approx(80 / 84)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_visible_is_nan() -> None:
    assert TemporalConsistency().compute().isnan()
    label = torch.zeros(8, 10).long()
    assert TemporalConsistency()(label, label, shift(-30, 0), shift(30, 0)).isnan()


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input_is_named() -> None:
    label = torch.zeros(8, 10).long()
    with pytest.raises(ValueError, match=r"maps \(8, 10\), flows \(2, 8, 10\) and \(2, 4, 4\)"):
        TemporalConsistency().update(label, label, shift(0, 0), shift(0, 0, (4, 4)))
    with pytest.raises(ValueError, match=r"prediction is torch\.float32"):
        TemporalConsistency().update(label.float(), label, shift(0, 0), shift(0, 0))
