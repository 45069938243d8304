"""Laws of deformations: the inverse undoes the field, and draws do not depend on the amplitude."""

import cv2
import numpy as np

from src.data.synthetic.deformation import invert_deformation, smooth_field


def test_inverse_undoes_the_field() -> None:
    """Shifting by the inverse and then by the field returns within 0.1 pixels, away from the border."""
    field = smooth_field((240, 320), 5.0, np.random.default_rng(0))
    assert field is not None and field.shape == (240, 320, 2)
    inverse = invert_deformation(field)
    x, y = np.meshgrid(np.arange(320, dtype=np.float32), np.arange(240, dtype=np.float32))
    there_x, there_y = x + inverse[..., 0], y + inverse[..., 1]
    shift = cv2.remap(field, there_x, there_y, cv2.INTER_LINEAR)
    error = np.hypot(there_x + shift[..., 0] - x, there_y + shift[..., 1] - y)[8:-8, 8:-8]
    assert np.abs(field).max() > 1 and error.max() < 0.1 and error.mean() < 0.03


def test_amplitude_does_not_change_the_number_of_draws() -> None:
    """A field below the smallest amplitude takes as many numbers from the generator as any other."""
    states = []
    for amplitude in (0.0, 1.0):
        rng = np.random.default_rng(0)
        smooth_field((40, 40), amplitude, rng)
        states.append(rng.random())
    assert states[0] == states[1]
