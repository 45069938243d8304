"""Laws of panels."""

from dataclasses import replace

import pytest
import torch

from src.structures import IGNORE_INDEX
from src.visualization.canvas import GAP, TITLE_HEIGHT
from src.visualization.class_colors import distinct_palette
from src.visualization.overlay import error_map
from src.visualization.panels import comparison_panel, pair_panel
from tests.segment_predictions import SIZE, flow_of, prediction

PALETTE = distinct_palette(3)


def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    key, nonkey = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    label = torch.zeros(SIZE, dtype=torch.int64)
    label[:, :100] = 2
    label[0] = IGNORE_INDEX
    return key, nonkey, label


def tile(picture: torch.Tensor, row: int, column: int) -> torch.Tensor:
    y, x = row * (TITLE_HEIGHT + SIZE[0] + GAP) + TITLE_HEIGHT, column * (SIZE[1] + GAP)
    return picture[:, y : y + SIZE[0], x : x + SIZE[1]]


def test_a_pair_panel_shows_the_frames_and_the_errors() -> None:
    key, nonkey, label = images()
    flow = flow_of([(1.0, 0.0), (0.0, -2.0), (9.0, 9.0)])
    target = torch.zeros(2, *SIZE)
    picture = pair_panel(key, nonkey, label, prediction(), flow, target, PALETTE, key_prediction=prediction())
    assert picture.shape == (3, 2 * (TITLE_HEIGHT + SIZE[0] + GAP), 4 * SIZE[1] + 3 * GAP)
    predicted = torch.zeros(SIZE, dtype=torch.int64)
    predicted[:, :128] = 2
    assert torch.equal(tile(picture, 0, 0), key)
    assert torch.equal(tile(picture, 1, 0), nonkey)
    assert torch.equal(tile(picture, 1, 3), error_map(predicted, label))
    assert (tile(picture, 0, 3)[:, :, :-60] == 255).all()  # no true motion


def test_missing_inputs_are_left_out() -> None:
    key, nonkey, label = images()
    full = pair_panel(key, nonkey, label, prediction(), flow_of([(1.0, 0.0)]), None, PALETTE)
    assert (tile(full, 0, 2) == 255).all()
    assert not (tile(full, 0, 1) == 255).all()
    single = pair_panel(key, key, label, prediction(), None, None, PALETTE)
    assert single.shape[1] == TITLE_HEIGHT + SIZE[0] + GAP
    void = pair_panel(key, key, torch.full(SIZE, IGNORE_INDEX), prediction(), None, None, PALETTE)
    assert (tile(void, 0, 3) == 0).all()


@pytest.mark.parametrize("methods", [1, 2, 5])
def test_comparison_panels_of_a_clip_have_one_size(methods: int) -> None:
    _, image, label = images()
    maps = {f"method {i}": label.clamp(max=2) for i in range(methods)}
    classes = ["road", "tree", "car"]
    labelled = comparison_panel(image, label, maps, PALETTE, classes)
    assert labelled.shape == comparison_panel(image, None, maps, PALETTE, classes).shape
    assert labelled.shape[1] % 2 == 0
    assert labelled.shape[2] % 2 == 0
    assert torch.equal(tile(labelled, 0, 0), image)
    without = comparison_panel(image, label, maps, PALETTE)
    assert torch.equal(labelled[:, : without.shape[1]], without)


def test_disoccluded_pixels_are_marked_and_counted() -> None:
    key, nonkey, label = images()
    confidence = torch.ones(1, 1, 16, 64)
    confidence[..., 32:] = 0
    flow = replace(flow_of([(0.0, 0.0)]), confidence=confidence)
    plain, marked = (pair_panel(key, nonkey, label, prediction(), f, None, PALETTE) for f in (flow_of([(0.0, 0.0)]), flow))
    found = tile(marked, 1, 4)
    assert marked.shape[2] > plain.shape[2]
    assert torch.equal(found[0, :, :120], nonkey.float().mean(0).round().byte()[:, :120])  # grey where not disoccluded
    assert (found[0, :, 140:].int() > found[1, :, 140:].int() + 40).all()
