"""Laws of polygons: rasterizing them gives the label map back, rings are simple, holes lie in their region."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from src.ops.polygons import Polygon, polygons


def rasterized(found: dict[int, list[Polygon]], shape: tuple[int, int], background: int = -1) -> NDArray[np.int64]:
    """Label map of polygons by the even-odd rule at pixel centers; two classes at a pixel are an error."""
    label_map = np.full(shape, background, np.int64)
    for label, regions in found.items():
        for region in regions:
            crossings = np.zeros((shape[0], shape[1] + 1), np.int64)
            for ring in (region.exterior, *region.holes):
                for (x, y), (other_x, other_y) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
                    assert (x == other_x) != (y == other_y), "a side is neither horizontal nor vertical"
                    if x == other_x:
                        crossings[min(y, other_y) : max(y, other_y), x] += 1
            inside = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
            assert (label_map[inside] == background).all(), "two polygons cover one pixel"
            label_map[inside] = label
    return label_map


def maps() -> list[NDArray[Any]]:
    rng = np.random.default_rng(0)
    noise = [
        rng.integers(0, classes, size)
        for classes, size in ((2, (9, 7)), (2, (40, 33)), (5, (30, 41)), (2, (1, 12)), (3, (12, 1)))
    ]
    smooth = [np.kron(rng.integers(0, 3, (6, 5)), np.ones((4, 7), int)).astype(np.uint8)]
    many = [rng.integers(250, 300, (11, 13)).astype(np.uint16)]
    return [*noise, *smooth, *many, np.full((3, 4), 7, np.uint8), np.indices((8, 8)).sum(0) % 2]


@pytest.mark.parametrize("label_map", maps(), ids=lambda each: f"{each.shape[0]}x{each.shape[1]}")
def test_rasterizing_gives_the_label_map(label_map: NDArray[Any]) -> None:
    found = polygons(label_map)
    np.testing.assert_array_equal(rasterized(found, label_map.shape), label_map)
    assert list(found) == np.unique(label_map).tolist()


@pytest.mark.parametrize("label_map", maps(), ids=lambda each: f"{each.shape[0]}x{each.shape[1]}")
def test_rings_are_simple_and_without_needless_corners(label_map: NDArray[Any]) -> None:
    for region in (region for regions in polygons(label_map).values() for region in regions):
        for ring in (region.exterior, *region.holes):
            assert len(np.unique(ring, axis=0)) == len(ring)
            sides = np.roll(ring, -1, axis=0) - ring
            assert ((sides[:, 0] == 0) != (np.roll(sides, -1, axis=0)[:, 0] == 0)).all(), "two sides of one ring are in line"


def test_a_square_with_a_hole() -> None:
    label_map = np.zeros((5, 6), np.uint8)
    label_map[1:4, 1:5] = 3
    label_map[2, 2:4] = 0
    (region,) = polygons(label_map)[3]
    assert region.exterior.tolist() == [[1, 1], [5, 1], [5, 4], [1, 4]]
    (hole,) = region.holes
    assert {tuple(corner) for corner in hole.tolist()} == {(2, 2), (4, 2), (4, 3), (2, 3)}
    assert len(polygons(label_map)[0]) == 2, "the frame around and the inside are regions of their own"


def test_diagonal_pixels_are_two_regions() -> None:
    found = polygons(np.eye(2, dtype=int))
    assert [len(found[0]), len(found[1])] == [2, 2]


def test_a_loop_that_closes_over_a_corner_has_a_hole() -> None:
    """Seven pixels around one, of another class, that touches the outside at a corner: exterior and hole meet there."""
    label_map = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]])
    (region,) = polygons(label_map)[1]
    assert len(region.holes) == 1
    assert len(region.exterior) == 6


def test_an_ignored_class_has_no_polygons() -> None:
    label_map = np.array([[0, 255], [0, 1]])
    assert list(polygons(label_map, ignore=255)) == [0, 1]
    assert polygons(np.full((2, 3), 255), ignore=255) == {}


def test_holes_belong_to_the_region_around_them() -> None:
    label_map = np.ones((7, 15), int)
    label_map[:, 7] = 2
    label_map[2, 2] = label_map[4, 10] = label_map[4, 12] = 0
    left, right = sorted(polygons(label_map)[1], key=lambda region: int(region.exterior[:, 0].min()))
    assert (len(left.holes), len(right.holes)) == (1, 2)
