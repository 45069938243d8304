"""A training pair with exact flow from one labelled still: the scene is taken for layered planes before a moving camera."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data.synthetic.deformation import smooth_field
from src.data.synthetic.photometry import add_noise, blur, change_light, compress
from src.data.synthetic.segments import Bytes, Floats, split_segments
from src.data.synthetic.stills.layers import Layers, fit_planes
from src.data.synthetic.stills.rendering import Scene, move, plane_homographies, render
from src.structures import IGNORE_INDEX, PairSample


class SyntheticMotion:
    """Makes (key frame, non-key frame, label, flow) of a labelled image.

    The image is the non-key frame, so its label is exact; the key frame is painted from it. Every connected piece of the label
    map is a plane that lies on the ground, stands on it or is infinitely far (see ``still_layers``); a camera that drives, turns
    and shakes, objects that move by themselves and pasted cut-outs give each its homography (see ``still_rendering``). A sample
    is a pure function of (image, label, rng).
    """

    def __init__(
        self,
        ground_classes: Collection[int] = (),
        far_classes: Collection[int] = (),
        motion: float = 1.0,
        max_gap: float = 10.0,
        speed: float = 0.35,
        standing: float = 0.1,
        earlier_key: float = 0.75,
        turn: float = 0.12,
        shake: float = 0.15,
        sideways: float = 0.015,
        moving: float = 0.25,
        own_speed: float = 0.2,
        max_displacement: float = 0.125,
        max_pasted: int = 2,
        depth_spread: float = 0.25,
        deformation: float = 0.6,
        photometric: float = 1.0,
        min_segment: float = 2e-4,
        max_segments: int = 64,
    ) -> None:
        """Set how strong everything is.

        Args:
            ground_classes: classes that lie on the ground; empty: big pieces that touch the lower border usually do.
            far_classes: classes at infinity, such as sky; empty: big pieces that touch the upper border often are.
            motion: factor on every motion; 0 makes the key frame equal to the non-key frame but for ``photometric`` changes.
            max_gap: largest time between the frames, in frames; log-uniform from half a frame.
            speed: greatest forward speed, in camera heights per frame (0.35 at 15 Hz and 1.5 m: 28 km/h).
            standing: probability that the camera does not drive.
            earlier_key: probability that the key frame is the earlier one, seen from further back.
            turn: scale of the yaw rate, degrees per frame (Laplace).
            shake: standard deviation of pitch, roll and additional yaw, degrees.
            sideways: standard deviation of the lateral speed, camera heights per frame; a third of it vertically.
            moving: probability that an upright piece of modest size moves by itself.
            own_speed: standard deviation of its speed along the road, camera heights per frame; a quarter of it across.
            max_displacement: the motion is scaled down until 95 % of the pixels move by less than this share of the longer side.
            max_pasted: 0 to so many copies of small pieces are pasted elsewhere, with their own motions; they change the label.
            depth_spread: standard deviation of the logarithm of an upright piece's depth.
            deformation: greatest typical amplitude of a smooth random deformation, in pixels.
            photometric: factor on all changes of light, focus and noise; 0 leaves the values as they are.
            min_segment: pieces below this share of the image move with a neighbour.
            max_segments: at most so many planes.

        Raises:
            ValueError: if a magnitude is negative.
        """
        magnitudes = (
            motion,
            max_gap - 0.5,
            speed,
            turn,
            shake,
            sideways,
            own_speed,
            max_displacement,
            max_pasted,
            deformation,
            photometric,
        )
        if min(magnitudes) < 0:
            raise ValueError(f"negative magnitude among {magnitudes}; expected all >= 0, and max_gap >= 0.5 frames")
        self.ground_classes, self.far_classes = tuple(ground_classes), tuple(far_classes)
        self.motion, self.max_gap, self.speed, self.standing, self.earlier_key = motion, max_gap, speed, standing, earlier_key
        self.turn, self.shake, self.sideways = turn, shake, sideways
        self.moving, self.own_speed, self.max_displacement, self.max_pasted = moving, own_speed, max_displacement, max_pasted
        self.depth_spread, self.deformation, self.photometric = depth_spread, deformation, photometric
        self.min_segment, self.max_segments = min_segment, max_segments

    def __call__(self, image: Tensor, label: Tensor, rng: np.random.Generator) -> PairSample:
        """Make one pair.

        Args:
            image: (3, H, W) uint8 RGB, H and W at least 32.
            label: (H, W) int64, any values >= 0.
            rng: source of every random choice.

        Returns:
            the pair; ``nonkey_label`` is ``label`` except under pasted cut-outs; flow is NaN where the source is hidden.

        Raises:
            ValueError: if the shapes do not fit together or the image is too small.
        """
        return self._make(image, label, rng)[0]

    def with_key_label(self, image: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[PairSample, Tensor]:
        """The same pair and the label (H, W) int64 of its key frame, painted as the frame is; values below 256 alone."""
        pair, scene = self._make(image, label, rng)
        still, nonkey = (np.repeat(np.asarray(part.numpy(), np.uint8)[..., None], 3, 2) for part in (label, pair.nonkey_label))
        painted, _ = render(replace(scene, still=still, nonkey=nonkey, interpolation=cv2.INTER_NEAREST))
        return pair, torch.from_numpy(painted[..., 0].astype(np.int64))

    def _make(self, image: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[PairSample, Scene]:
        if image.shape != (3, *label.shape) or min(label.shape) < 32:
            raise ValueError(
                f"image {tuple(image.shape)} and label {tuple(label.shape)}; expected (3, H, W) and (H, W), at least 32"
            )
        still = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        classes = label.numpy().copy()
        segments = split_segments(classes, max(int(self.min_segment * classes.size), 8), self.max_segments)
        layers = fit_planes(segments, self.ground_classes, self.far_classes, self.depth_spread, rng)
        gap = float(np.exp(rng.uniform(np.log(0.5), np.log(self.max_gap))))
        homographies = self._layer_motion(layers, gap, rng)
        scene = Scene(
            still=still,
            nonkey=still,
            layers=layers,
            index=segments.index,
            homographies=homographies,
            deformation=smooth_field(tuple(label.shape), self.motion * self.deformation * rng.random(), rng),
            interpolation=cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC,
        )
        scene = self._paste(scene, classes, gap, rng)
        key, flow = render(scene)
        key = change_light(key, self.photometric, rng)
        images = [torch.from_numpy(self._record(frame, rng)).permute(2, 0, 1).contiguous() for frame in (key, scene.nonkey)]
        return PairSample(images[0], images[1], torch.from_numpy(classes), torch.from_numpy(flow), "still"), scene

    def _layer_motion(self, layers: Layers, gap: float, rng: np.random.Generator) -> Floats:
        """Homographies of the layers, (N, 3, 3), after scaling the motion down to ``max_displacement``."""
        drives = rng.random() >= self.standing
        forward = self.speed * rng.random() * gap * drives * (1 if rng.random() < self.earlier_key else -1)
        across = rng.normal(0, self.sideways, 2) * (1, 1 / 3) * gap
        angles = np.deg2rad(rng.normal(0, self.shake, 3))
        angles[1] += np.deg2rad(rng.laplace(0, self.turn)) * gap * drives
        count = len(layers.planes)
        own = rng.normal(0, self.own_speed, (count, 3)) * (0.25, 0, 1) * gap
        own *= (layers.movable & (rng.random(count) < self.moving))[:, None]
        size = layers.segments.index.shape
        own *= _share_within(own, layers, 0.6 * self.max_displacement * max(size))[:, None]
        y, x = np.meshgrid(np.arange(0, size[0], 8), np.arange(0, size[1], 8), indexing="ij")
        coarse = layers.segments.index[::8, ::8]
        amount = self.motion
        for _ in range(8):
            translations = amount * (np.array([*across, forward]) + own)
            homographies = plane_homographies(layers.planes, layers.focal, size, _rotation(amount * angles), translations)
            homographies[layers.fixed] = np.eye(3)
            to_x, to_y, ratio = move(homographies, coarse, x.astype(np.float32), y.astype(np.float32))
            length = np.where(ratio > 0.05, np.hypot(to_x - x, to_y - y), np.float32(max(size)))
            excess = float(np.percentile(length, 95)) / (self.max_displacement * max(size) + 1e-6)
            if excess <= 1:
                break
            amount *= max(0.9 / excess, 0.3)
        return homographies

    def _paste(self, scene: Scene, classes: NDArray[np.int64], gap: float, rng: np.random.Generator) -> Scene:
        """Copy small pieces to other places of the non-key frame, as new layers in front of all others; writes to ``classes``."""
        segments, count = scene.layers.segments, len(scene.layers.planes)
        share = segments.areas / segments.index.size
        pool = np.flatnonzero(scene.layers.movable & (segments.classes != IGNORE_INDEX) & (share > 1e-3) & (share < 0.06))
        number = int(rng.integers(0, self.max_pasted + 1))
        if len(pool) == 0 or number == 0:
            return scene
        nonkey, index, homographies = scene.nonkey.copy(), scene.index.copy(), [scene.homographies]
        for i in rng.choice(pool, number):
            left, top, wide, tall = (int(v) for v in segments.boxes[i])
            scale, flip = float(np.exp(rng.uniform(np.log(0.6), np.log(1.6)))), slice(None, None, -1 if rng.random() < 0.5 else 1)
            patch = scene.still[top : top + tall, left : left + wide][:, flip]
            mask = (segments.index[top : top + tall, left : left + wide] == i)[:, flip].astype(np.uint8) * 255
            size = max(round(wide * scale), 3), max(round(tall * scale), 3)
            patch, mask = (np.asarray(cv2.resize(np.ascontiguousarray(part), size), np.uint8) for part in (patch, mask))
            corner_x = int(rng.integers(-size[0] // 2, index.shape[1] - size[0] // 2))
            corner_y = round(top + tall - size[1] + float(rng.normal(0, 0.1)) * index.shape[0])
            x0, y0 = max(corner_x, 0), max(corner_y, 0)
            x1, y1 = min(corner_x + size[0], index.shape[1]), min(corner_y + size[1], index.shape[0])
            homographies.append(self._cutout_motion(scene, int(i), (corner_x, corner_y), size, gap, rng)[None])
            if x0 >= x1 or y0 >= y1:
                continue
            part = np.s_[y0 - corner_y : y1 - corner_y, x0 - corner_x : x1 - corner_x]
            here = mask[part] > 127
            nonkey[y0:y1, x0:x1][here] = patch[part][here]
            index[y0:y1, x0:x1][here] = count + len(homographies) - 2
            classes[y0:y1, x0:x1][here] = segments.classes[i]
        return replace(scene, nonkey=nonkey, index=index, homographies=np.concatenate(homographies))

    def _cutout_motion(
        self, scene: Scene, i: int, corner: tuple[int, int], size: tuple[int, int], gap: float, rng: np.random.Generator
    ) -> Floats:
        """The camera's motion at the piece's old place, and a shift, turn and scaling of its own."""
        height, width = scene.index.shape
        middle = corner[0] + size[0] / 2, corner[1] + size[1] / 2
        amount = self.motion * (gap / self.max_gap) ** 0.5
        shift = rng.normal(0, 0.35 * self.max_displacement, 2) * (1, 0.4) * max(height, width) * amount
        angle, scale = np.deg2rad(rng.normal(0, 2.5)) * amount, np.exp(rng.normal(0, 0.08) * amount)
        x, y, wide, tall = (float(v) for v in scene.layers.segments.boxes[i])
        start = np.array([x + wide / 2, y + tall / 2, 1.0])
        end = scene.homographies[i] @ start
        carried = end[:2] / end[2] - start[:2] if end[2] > 0.05 else np.zeros(2)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        homography = np.eye(3)
        homography[:2, :2] = turn
        homography[:2, 2] = np.array(middle) + shift + carried.clip(-0.2 * width, 0.2 * width) - turn @ np.array(middle)
        return homography

    def _record(self, image: Bytes, rng: np.random.Generator) -> Bytes:
        """Focus, compression and noise, drawn for each frame by itself, so that sharpness does not tell which is painted."""
        sigma, noise, quality = rng.uniform(0, 0.7), rng.uniform(0, 4.0), int(rng.integers(50, 95))
        image = blur(image, sigma * self.photometric)
        image = add_noise(image, noise * self.photometric, rng)
        return compress(image, quality) if rng.random() < 0.2 and self.photometric > 0 else image


def _share_within(own: Floats, layers: Layers, limit: float) -> Floats:
    """The share (N,) of translations ``own`` (N, 3) that moves the middle of a layer by at most ``limit`` pixels, roughly."""
    height, width = layers.segments.index.shape
    middle = layers.segments.boxes[:, :2] + layers.segments.boxes[:, 2:] / 2 - np.array([width - 1, height - 1]) / 2
    inverse_depth = (layers.planes * np.column_stack((middle / layers.focal, np.ones(len(middle))))).sum(1)
    length = np.linalg.norm(own, axis=1) * np.abs(inverse_depth) * layers.focal
    share: Floats = np.minimum(1.0, limit / np.maximum(length, 1e-6))
    return share


def _rotation(angles: Floats) -> Floats:
    """Rotation matrix of (pitch, yaw, roll) in radians, as a rotation vector."""
    return np.asarray(cv2.Rodrigues(np.asarray(angles, np.float64))[0], np.float64)
