from fractions import Fraction

import cv2
import numpy as np
import torch

from src.inference.video.prediction import FramePrediction
from src.inference.video.sources import Frame
from src.web.preview import Preview


def prediction(height: int, width: int) -> FramePrediction:
    frame = Frame(torch.zeros(3, height, width, dtype=torch.uint8), "a", Fraction(0), Fraction(1))
    return FramePrediction(frame, torch.ones(height, width, dtype=torch.uint8), True, None, "first", 0.1)


def test_pictures_are_small_in_class_colors_and_at_most_two_a_second() -> None:
    shown, now = list[bytes](), [0.0]
    preview = Preview(("sky", "road"), ((0, 0, 0), (200, 100, 0)), Fraction(2), shown.append, lambda: now[0])
    for seconds in (0.0, 0.1, 0.49, 0.5, 0.6):
        now[0] = seconds
        preview(prediction(480, 640))
    assert len(shown) == 2
    picture = cv2.imdecode(np.frombuffer(shown[0], np.uint8), cv2.IMREAD_COLOR)
    # Pixels are twice as wide as high.
    assert picture is not None and picture.shape == (240, 640, 3)
    assert np.allclose(picture.mean((0, 1)), (0, 40, 80), atol=4)


def test_small_frames_keep_their_size() -> None:
    shown = list[bytes]()
    Preview(("sky", "road"), ((0, 0, 0), (200, 100, 0)), Fraction(1), shown.append)(prediction(1, 3))
    picture = cv2.imdecode(np.frombuffer(shown[0], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (1, 3, 3)
