import numpy as np

from src.data.synthetic.scenes.rendering import NEAR
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
