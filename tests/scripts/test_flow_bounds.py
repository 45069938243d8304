"""Laws of the bounds: the true flow keeps nearly all labels, coarser grids keep fewer, and no motion loses nothing."""

from pathlib import Path

import pytest
import torch

from scripts.flow_bounds import bounds, on_grid
from tests.data.synthetic.test_still_pairs import NO_CHANGE, still_pairs


def test_a_coarser_grid_scores_less(tmp_path: Path) -> None:
    found = bounds(still_pairs(tmp_path))
    scores = [found[f"labels, true flow at 1/{stride}"] for stride in (1, 2, 4)]
    assert scores[0] > 0.97 and scores == sorted(scores, reverse=True)
    assert found["masks at 1/4, a flow per class"] >= found["masks at 1/4, one flow"] - 0.005


def test_without_motion_labels_stay(tmp_path: Path) -> None:
    found = bounds(still_pairs(tmp_path, **NO_CHANGE))
    assert found["labels, true flow at 1/4"] == found["labels, true flow at 1/1"] == pytest.approx(1)


def test_a_cell_has_the_mean_of_its_known_pixels_and_an_empty_one_that_of_the_nearest() -> None:
    flow = torch.zeros(2, 8, 16)
    flow[0, :, :8], flow[0, 0, 0] = 4.0, 12.0
    where = torch.zeros(8, 16, dtype=torch.bool)
    where[:, :4] = True
    coarse = on_grid(flow.masked_fill(~where, torch.nan), where, 4)
    assert coarse.shape == (2, 2, 4) and not coarse[1].any()
    torch.testing.assert_close(coarse[0, 1], torch.ones(4))
    torch.testing.assert_close(coarse[0, 0], torch.full((4,), 1 + 8 / 16 / 4))
