"""Settings of :class:`src.data.synthetic.stills.motion.SyntheticMotion`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerSettings:
    """Decomposition of a labelled still into planes.

    Attributes:
        ground_classes: classes that lie on the ground; if empty, large segments at the lower border usually do.
        far_classes: classes at infinity, such as sky; if empty, large segments at the upper border often are.
        depth_spread: standard deviation of the logarithm of an upright segment's depth.
        min_segment: smallest segment with a plane of its own, as share of the image; smaller ones move with a neighbor.
        max_segments: largest number of planes.
    """

    ground_classes: Sequence[int] = ()
    far_classes: Sequence[int] = ()
    depth_spread: float = 0.25
    min_segment: float = 2e-4
    max_segments: int = 64


@dataclass(frozen=True)
class CameraMotion:
    """Motion of the camera between the frames.

    Attributes:
        max_offset: largest time between the frames, in frames, at least 0.5; log-uniform from half a frame.
        max_speed: forward, camera heights per frame (0.35 at 15 Hz and 1.5 m: 28 km/h).
        standstill_probability: of a camera that does not drive.
        earlier_key_probability: of a key frame that is the earlier one, seen from further back.
        yaw_rate: scale of the Laplace distribution, degrees per frame.
        shake: standard deviation of pitch, roll and additional yaw, degrees.
        lateral_speed: standard deviation, camera heights per frame; vertically a third of it.
    """

    max_offset: float = 10.0
    max_speed: float = 0.35
    standstill_probability: float = 0.1
    earlier_key_probability: float = 0.75
    yaw_rate: float = 0.12
    shake: float = 0.15
    lateral_speed: float = 0.015

    def __post_init__(self) -> None:
        if min(self.max_offset - 0.5, self.max_speed, self.yaw_rate, self.shake, self.lateral_speed) < 0:
            raise ValueError(f"negative magnitude in {self}; expected all >= 0, and max_offset >= 0.5 frames")


@dataclass(frozen=True)
class ObjectMotion:
    """Motion of objects relative to the ground, and cut-outs pasted elsewhere.

    Attributes:
        moving_probability: of an upright segment of moderate size that moves by itself.
        speed: standard deviation of its speed along the road, camera heights per frame; across the road a quarter of it.
        max_pasted: largest number of copies of small segments that are pasted elsewhere with their own motions; they change the
            label.
    """

    moving_probability: float = 0.25
    speed: float = 0.2
    max_pasted: int = 2

    def __post_init__(self) -> None:
        if min(self.speed, self.max_pasted) < 0:
            raise ValueError(f"negative magnitude in {self}; expected all >= 0")
