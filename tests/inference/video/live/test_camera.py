from itertools import pairwise

import cv2
import numpy as np
import pytest

from src.inference.video.live.camera import open_camera
from src.inference.video.live.latest import LiveOptions, Retry


class FakeCamera:
    """cv2.VideoCapture without a device: three red pictures, then nothing."""

    released = 0

    def __init__(self, index: int) -> None:
        self.index, self.left = index, 3

    def isOpened(self) -> bool:  # noqa: N802
        return self.index == 0

    def get(self, key: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        picture = np.zeros((4, 6, 3), np.uint8)
        picture[..., 2] = 200
        return (True, picture) if self.left >= 0 else (False, None)

    def release(self) -> None:
        FakeCamera.released += 1


def test_a_camera_runs_until_it_disconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    before = FakeCamera.released
    source = open_camera(0, LiveOptions(retry=Retry(attempts=0)))
    found = list(source)
    assert all(frame.image[:, 0, 0].tolist() == [200, 0, 0] for frame in found)
    assert len(found) + source.dropped == 3 and found[-1].name == "000002"
    assert found[0].time == 0 and all(one.time < other.time for one, other in pairwise(found))
    assert FakeCamera.released == before + 2
    assert source.decode_errors == ["camera 0 delivered no frame; after 3 frames and 0 attempts to reconnect"]


def test_a_camera_that_is_not_there_and_one_without_drops_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with pytest.raises(OSError, match="camera 7 cannot be opened"):
        open_camera(7)
    with pytest.raises(ValueError, match="live is false, and the input is camera 0"):
        open_camera(0, LiveOptions(live=False))


@pytest.mark.parametrize("index", [-1, 10_000, 3_000_000_000, True])
def test_numbers_of_no_camera_are_refused(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The real one ends the process, or raises an error of many lines.
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with pytest.raises(ValueError, match=rf"camera is {index}; expected its number, 0\.\.9999"):
        open_camera(index)
