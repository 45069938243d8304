"""Laws of the rendered key frame: a shift moves pixels and flow by that shift, and hidden sources have NaN flow."""

import cv2
import numpy as np

from src.data.synthetic.segments import split_segments
from src.data.synthetic.stills.layers import fit_planes
from src.data.synthetic.stills.rendering import LayeredScene, apply_homographies, plane_homographies, render

SIZE = (48, 64)


def layered(label: np.ndarray, *shifts: tuple[float, float]) -> LayeredScene:
    """Noise with one shift (dx, dy) for each class of the label; class 0 is infinitely far."""
    still = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    segments = split_segments(label, 1, 8)
    layers = fit_planes(segments, (9,), (0,), 0.0, np.random.default_rng(0))
    homographies = np.eye(3)[None].repeat(len(segments), 0)
    homographies[:, :2, 2] = np.array(shifts)[segments.classes]
    return LayeredScene(still, still, layers, segments.index, homographies, None, cv2.INTER_LINEAR)


def test_a_shift_moves_every_pixel_by_its_flow() -> None:
    scene = layered(np.zeros(SIZE, np.int64), (3, -2))
    key, flow = render(scene)
    np.testing.assert_array_equal(key[:-2, 3:], scene.still[2:, :-3])
    known = ~np.isnan(flow).any(0)
    assert known[2:, :-3].all() and not known[:2].any() and not known[:, -3:].any()
    np.testing.assert_allclose(flow[:, 10, 10], (3, -2), atol=1e-4)
    np.testing.assert_allclose(flow[:, known].T - (3, -2), 0, atol=1e-4)


def test_background_behind_a_moved_object_has_no_flow() -> None:
    label = np.zeros(SIZE, np.int64)
    label[20:30, 20:30] = 1
    scene = layered(label, (0, 0), (10, 0))
    key, flow = render(scene)
    np.testing.assert_array_equal(key[20:30, 30:40], scene.still[20:30, 20:30])
    hidden = np.isnan(flow).any(0)
    assert hidden[20:30, 30:40].all() and hidden.sum() == 100
    np.testing.assert_allclose(flow[:, 25, 25], (10, 0), atol=1e-4)
    np.testing.assert_allclose(flow[:, 5, 5], (0, 0), atol=1e-4)


def test_a_frontal_plane_shifts_by_focal_length_times_translation_over_depth() -> None:
    homographies = plane_homographies(np.array([[0, 0, 0.25]]), 80.0, SIZE, np.eye(3), np.array([[0.5, 0, 0]]))
    x, y = np.arange(64, dtype=np.float32), np.arange(48, dtype=np.float32)[:, None]
    to_x, to_y, ratio = apply_homographies(homographies, np.zeros(SIZE, np.int32), x, y)
    np.testing.assert_allclose(to_x - x, np.full(SIZE, 80 * 0.5 / 4), atol=1e-3)
    np.testing.assert_allclose(to_y - y, np.zeros(SIZE), atol=1e-3)
    np.testing.assert_allclose(ratio, 1, atol=1e-6)
