"""Laws of the geometry: deformations are inverted, and every object crosses the image."""

import numpy as np

from src.data.synthetic.scenes.rendering import NEAR
from src.data.synthetic.scenes.shapes import OBJECT_KINDS
from src.data.synthetic.scenes.world import build_scene


def test_deform_undoes_undeform() -> None:
    """A point of a swaying object is mapped to its position and back to within a thousandth of a pixel."""
    scene = build_scene((1, 2), (64, 96), 24)
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 500)).astype(np.float32)
    for obj in scene.objects[2:]:
        there = obj.deform(u, v, 7.0)
        back = obj.undeform(*there, 7.0)
        scale = scene.camera.focal * obj.size / NEAR
        assert max(np.abs(back[0] - u).max(), np.abs(back[1] - v).max()) * scale < 1e-3 * scale / 10
        amplitude, wave = obj.sway[:, 0], obj.sway[:, 1]
        assert (amplitude * wave < 0.3).all()


def test_every_object_is_in_the_image_at_its_reference_time() -> None:
    for seed in range(6):
        scene = build_scene((9, seed), (64, 96), 24)
        objects = [obj for obj in scene.objects if obj.kind in OBJECT_KINDS]
        assert len(objects) >= 6
        for obj in objects:
            x, y, depth = scene.homography(obj, obj.reference_time) @ (0, 0, 1)
            assert depth > NEAR and -0.1 * 96 < x / depth < 1.1 * 96 and 0 < y / depth < 64
            assert 0 <= obj.reference_time <= 24


def test_the_camera_moves_by_its_velocity() -> None:
    camera = build_scene((9, 0), (64, 96), 24).camera
    positions = [camera.projection(time)[1] for time in (0.0, 5.0, 10.0)]
    np.testing.assert_allclose(positions[2] - positions[0], 10 * camera.velocity)
    np.testing.assert_allclose(positions[0], (0, -1, 0))
