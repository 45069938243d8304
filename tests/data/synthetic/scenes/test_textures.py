"""Laws of textures: periodic ones have no seam, colors are those of their hue, and instances differ."""

import numpy as np
import pytest

from src.data.synthetic.scenes.shapes import OBJECT_KINDS, WALL, outline
from src.data.synthetic.scenes.textures import TILE, color, fractal_noise, ground_texture, mix, object_texture, sky_texture


def seam_ratio(texture: np.ndarray, axis: int) -> float:
    """Return the difference across the border relative to that between inner neighbors."""
    inner = np.abs(np.diff(texture, axis=axis)).mean()
    return float(np.abs(np.take(texture, 0, axis) - np.take(texture, -1, axis)).mean() / inner)


def test_ground_and_sky_are_periodic() -> None:
    ground, sky = ground_texture(np.random.default_rng(1)), sky_texture((96, 192), np.random.default_rng(1))
    assert ground.shape == (TILE, TILE, 3)
    assert seam_ratio(ground, 0) < 1.3 and seam_ratio(ground, 1) < 1.3 and seam_ratio(sky, 1) < 2.5
    assert seam_ratio(sky, 0) > 3, "the gradient from top to bottom is not periodic"


def test_noise_is_standardized_and_smoother_for_a_steeper_slope() -> None:
    flat, steep = (fractal_noise((64, 96), slope, np.random.default_rng(0)) for slope in (0.5, 2.0))
    for noise in (flat, steep):
        assert abs(noise.mean()) < 1e-5 and abs(noise.std() - 1) < 1e-5
    assert np.abs(np.diff(steep, axis=1)).mean() < 0.3 * np.abs(np.diff(flat, axis=1)).mean()


def test_colors_and_their_mixture() -> None:
    red, blue = color(360, 1.0, 1.0), color(240, 1.0, 0.5)
    np.testing.assert_allclose(red, (255, 0, 0), atol=0.5)
    np.testing.assert_allclose(blue, (0, 0, 127.5), atol=0.5)
    blend = mix(red, blue, np.array([[-1.0, 0.5, 2.0]], np.float32))
    np.testing.assert_allclose(blend[0], (red, (red + blue) / 2, blue), atol=1e-4)


@pytest.mark.parametrize("kind", [WALL, *OBJECT_KINDS])
def test_instances_of_a_class_differ(kind: int) -> None:
    shape = outline(kind, np.random.default_rng(0))
    first, same, second = (object_texture(kind, shape, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (*shape.distance.shape, 3) and first.min() >= 0 and first.max() <= 255
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - second).mean() > 2
