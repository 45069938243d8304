"""Laws of the legend of a video: it is the same on every frame, and a class that has a place keeps it."""

import numpy as np
import pytest

from src.visualization.class_colors import distinct_palette
from src.visualization.fixed_legend import FixedLegend, LegendPlace

PLACES: tuple[LegendPlace, ...] = ("side", "bottom")


def shares(count: int, *visible: int) -> np.ndarray:
    found = np.zeros(count)
    found[list(visible)] = 1 / max(1, len(visible))
    return found


def legend(count: int, place: LegendPlace) -> FixedLegend:
    return FixedLegend([f"class_{k}" for k in range(count)], distinct_palette(count), place)


def has(panel: np.ndarray, k: int, count: int) -> bool:
    return bool((panel == distinct_palette(count)[k]).all(-1).sum() > 50)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", [(360, 480), (272, 640), (720, 1280), (480, 270)])
def test_all_classes_of_a_street_model_are_named_whatever_is_visible(place: LegendPlace, size: tuple[int, int]) -> None:
    one, other = (legend(11, place).panel(size, shares(11, k)) for k in (0, 7))
    assert np.array_equal(one, other) and all(has(one, k, 11) for k in range(11))
    if place == "side":
        assert one.shape[0] == size[0] and 0 < one.shape[1] <= size[1] / 3
    else:
        assert one.shape[1] == size[1] and 0 < one.shape[0] <= max(size[0] / 6, 36)


@pytest.mark.parametrize("place", PLACES)
def test_of_many_classes_those_that_appear_first_have_places_and_keep_them(place: LegendPlace) -> None:
    shown, size = legend(124, place), (240, 320)
    before = shown.panel(size, shares(124, 70))
    assert has(before, 70, 124) and not has(before, 3, 124)
    after = shown.panel(size, shares(124, 3))
    assert has(after, 70, 124) and has(after, 3, 124)
    taken = (before != before[-1, -1]).any(-1)
    assert np.array_equal(before[taken], after[taken])
    for k in range(124):
        full = shown.panel(size, shares(124, k))
    assert np.array_equal(full, shown.panel(size, shares(124, 123))) and has(full, 70, 124) and not has(full, 123, 124)


def test_a_speck_takes_no_place() -> None:
    shown = legend(124, "side")
    speck = shares(124, 5)
    speck[90] = 0.0009
    panel = shown.panel((240, 320), speck)
    assert has(panel, 5, 124) and not has(panel, 90, 124)


@pytest.mark.parametrize("place", PLACES)
def test_small_images_and_models_without_classes_have_no_legend(place: LegendPlace) -> None:
    for shown, size in ((legend(4, place), (40, 56)), (legend(0, place), (360, 480))):
        assert shown.panel(size, np.zeros(len(shown._names))).size == 0


def test_long_names_are_shortened_to_a_third_of_the_image() -> None:
    names = ["an endless name " * 10, "car"]
    panel = FixedLegend(names, distinct_palette(2), "side").panel((240, 320), np.ones(2))
    assert 80 < panel.shape[1] <= 107
