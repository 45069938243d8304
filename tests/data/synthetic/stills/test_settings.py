"""Law: settings without a meaning are refused, those at the limits accepted."""

import pytest

from src.data.synthetic.stills.settings import CameraMotion, ObjectMotion


@pytest.mark.parametrize("name", ["max_speed", "yaw_rate", "shake", "lateral_speed"])
def test_negative_camera_motion_is_refused(name: str) -> None:
    assert getattr(CameraMotion(**{name: 0.0}), name) == 0
    with pytest.raises(ValueError, match=f"negative magnitude in .*{name}=-0.1"):
        CameraMotion(**{name: -0.1})


def test_frames_are_at_least_half_a_frame_apart() -> None:
    assert CameraMotion(max_offset=0.5).max_offset == 0.5
    with pytest.raises(ValueError, match=r"max_offset >= 0\.5 frames"):
        CameraMotion(max_offset=0.4)


@pytest.mark.parametrize("name", ["speed", "max_pasted"])
def test_negative_object_motion_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"negative magnitude in .*{name}=-1"):
        ObjectMotion(**{name: -1})
