"""Laws of photometric changes: zero strength is the identity, and changes have the given size."""

import numpy as np

from src.data.synthetic.photometry import add_noise, blur, change_light, compress


def gradient() -> np.ndarray:
    return np.tile(np.arange(64, 192, dtype=np.uint8)[None, :, None], (64, 1, 3))


def test_strength_zero_changes_nothing() -> None:
    """At strength zero, values do not change, bit for bit."""
    image, rng = gradient(), np.random.default_rng(0)
    for same in (change_light(image, 0.0, rng), blur(image, 0.0), add_noise(image, 0.0, rng)):
        assert np.array_equal(same, image)


def test_light_is_one_monotone_curve() -> None:
    """Equal values stay equal and their order is kept: the change is global."""
    image = gradient()
    changed = change_light(image, 1.0, np.random.default_rng(1))
    assert not np.array_equal(changed, image)
    assert (changed == changed[:1]).all() and (np.diff(changed[0].astype(int), axis=0) >= 0).all()


def test_noise_has_the_given_deviation() -> None:
    """Mean zero and the standard deviation in grey levels, to 5 %."""
    image = np.full((200, 200, 3), 128, np.uint8)
    noise = add_noise(image, 6.0, np.random.default_rng(0)).astype(float) - 128
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 6.0) < 0.3


def test_compression_is_slight() -> None:
    """A JPEG of quality 90 differs slightly."""
    image = np.random.default_rng(0).integers(100, 140, (64, 64, 3), dtype=np.uint8)
    again = compress(image, 90)
    assert again.shape == image.shape and 0 < np.abs(again.astype(int) - image).mean() < 12
