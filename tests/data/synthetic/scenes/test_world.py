import numpy as np

from src.data.synthetic.scenes.rendering import NEAR, draw, flow_between, locate
from src.data.synthetic.scenes.shapes import GROUND, SKY
from src.data.synthetic.scenes.world import build_scene


def test_deform_undoes_undeform() -> None:
    """A point of a swaying thing goes to its place and back to within a thousandth of a pixel."""
    world = build_scene((1, 2), (64, 96), 24)
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 500)).astype(np.float32)
    for thing in world.things[2:]:
        there = thing.deform(u, v, 7.0)
        back = thing.undeform(*there, 7.0)
        scale = world.camera.focal * thing.size / NEAR
        assert max(np.abs(back[0] - u).max(), np.abs(back[1] - v).max()) * scale < 1e-3 * scale / 10
        amplitude, wave = thing.sway[:, 0], thing.sway[:, 1]
        assert (amplitude * wave < 0.3).all()


def test_locate_undoes_projection() -> None:
    """The point of a plane that is seen at a pixel projects to that pixel, at that depth."""
    world = build_scene((3, 4), (64, 96), 24)
    x, y = np.meshgrid(np.arange(0, 96, 7, dtype=np.float32), np.arange(0, 64, 7, dtype=np.float32))
    for thing in world.things:
        homography = world.homography(thing, 5.0)
        u, v, depth = locate(homography, x, y)
        position = np.einsum("ij,jhw->ihw", homography, np.stack((u, v, np.ones_like(u))).astype(np.float64))
        front = depth > NEAR
        np.testing.assert_allclose((position[0] / position[2])[front], x[front], atol=2e-2)
        np.testing.assert_allclose((position[1] / position[2])[front], y[front], atol=2e-2)
        np.testing.assert_allclose(position[2][front], depth[front], rtol=1e-3)


def test_flow_without_time_is_zero() -> None:
    """The general computation, not only the shortcut of the reader, gives no motion and hides nothing at lag zero."""
    flow = flow_between(build_scene((5, 6), (64, 96), 24), 9.0, 9.0)
    known = ~np.isnan(flow).any(0)
    assert known[1:-1, 1:-1].mean() > 0.99
    assert np.abs(flow[:, known]).max() < 0.02


def test_sky_above_ground_below() -> None:
    """The picture is filled: no ground along the upper border, no sky along the lower one, and something to see."""
    for number in range(4):
        world = build_scene((7, number), (64, 96), 24)
        picture, owner = draw(world, 0)
        kinds = np.array([thing.kind for thing in world.things])[owner]
        assert not (kinds[:8] == GROUND).any() and not (kinds[-8:] == SKY).any()
        assert np.isfinite(picture).all() and picture.min() >= -1 and picture.max() <= 256
        assert picture.std() > 15
