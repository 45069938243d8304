"""Cameras of this machine."""

from collections.abc import Generator
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.inference.video.live.latest import LiveFrames, LiveOptions, Picture
from src.inference.video.sources import SourceInfo

_FPS = 30
_MOST = 10_000
_TIME_BASE = Fraction(1, 90_000)


def open_camera(index: int, options: LiveOptions | None = None) -> LiveFrames:
    """Return the frames of a camera, by its number.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is no number of a camera, or ``live`` is false: a camera has no end.
    """
    # OpenCV ends the process at some negative numbers.
    if isinstance(index, bool) or not 0 <= index < _MOST:
        raise ValueError(f"camera is {index}; expected its number, 0..{_MOST - 1}")
    if options is not None and options.live is False:
        raise ValueError(f"live is false, and the input is camera {index}, which has no end; expected auto or true")
    capture = cv2.VideoCapture(index)
    opened, rate = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if not opened:
        raise OSError(f"camera {index} cannot be opened; expected the number of a connected camera or the path of a video")
    fps = Fraction(rate).limit_denominator(1001) if 0 < rate <= 1000 else Fraction(_FPS)
    info = SourceInfo(f"camera {index}", fps, _TIME_BASE)
    return LiveFrames(info, partial(_pictures, index), options)


def _pictures(index: int) -> Generator[Picture, None, None]:
    capture = cv2.VideoCapture(index)
    try:
        while True:
            read, image = capture.read()
            if not read:
                raise OSError(f"camera {index} delivered no frame")
            yield partial(_rgb, np.asarray(image, np.uint8))
    finally:
        capture.release()


def _rgb(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1).contiguous()
