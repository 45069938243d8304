"""Laws of outlines: distances are signed and exact near the edge, and instances differ."""

import numpy as np
import pytest

from src.data.synthetic.scenes.shapes import BALL, OBJECT_KINDS, RING, SKY, WALL, outline


def test_the_distance_of_a_ball_is_that_of_a_disk() -> None:
    """The signed distance is the distance to the center minus the radius, within half a sample near the edge."""
    shape = outline(BALL, np.random.default_rng(0))
    u, v = (grid.astype(np.float32) for grid in np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)))
    found, radius = shape.at(u, v), np.hypot(u, v)
    near = np.abs(radius - 1) < 0.1
    assert np.abs(found - (radius - 1))[near].max() < 0.5 / shape.density


def test_ring_has_a_hole() -> None:
    """The center is outside, the band inside."""
    shape = outline(RING, np.random.default_rng(0))
    middle, band = shape.at(np.zeros((1, 2), np.float32) + np.array([[0, 0.8]], np.float32), np.zeros((1, 2), np.float32))[0]
    assert middle > 0.3 and band < 0


def test_lists_of_positions_may_be_long() -> None:
    """More positions than the 2**15 columns of an OpenCV map are possible."""
    shape = outline(RING, np.random.default_rng(0))
    u, v = np.random.default_rng(1).uniform(-1, 1, (2, 2**16 + 5)).astype(np.float32)
    assert np.array_equal(shape.at(u, v).ravel()[-200:], shape.at(u[-200:], v[-200:]).ravel())


def test_instances_differ_and_stay_inside() -> None:
    """No outline touches the border of its map, and two instances differ."""
    for kind in (WALL, *OBJECT_KINDS):
        shapes = [outline(kind, np.random.default_rng(seed)) for seed in range(4)]
        for shape in shapes:
            edge = np.concatenate([shape.distance[0], shape.distance[-1], shape.distance[:, 0], shape.distance[:, -1]])
            assert edge.min() > 0 and shape.distance.min() < 0
        if kind != BALL:
            assert len({shape.distance.tobytes() for shape in shapes}) > 1


def test_sky_has_no_outline() -> None:
    """Kinds without an edge are refused."""
    with pytest.raises(ValueError, match="kind 0 has no outline"):
        outline(SKY, np.random.default_rng(0))
