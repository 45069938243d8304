"""Training pairs, triplets and clips with exact flow from labelled stills: planes move before a driving camera."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from src.data.samples import PairSample
from src.data.synthetic.deformation import smooth_field
from src.data.synthetic.photometry import add_noise, blur, change_light, compress
from src.data.synthetic.segments import Bytes, Floats, split_segments
from src.data.synthetic.stills.cutouts import paste_cutouts, reversed_cutouts
from src.data.synthetic.stills.layers import Layers, fit_planes
from src.data.synthetic.stills.rendering import LayeredScene, apply_homographies, plane_homographies, render
from src.data.synthetic.stills.settings import CameraMotion, LayerSettings, ObjectMotion


@dataclass(frozen=True)
class LayerMotion:
    """Motion of the layers from the non-key to the key frame.

    Attributes:
        offset: time between the frames, in frames.
        camera: (3,), translation of the camera, camera heights.
        own: (N, 3), additional translations of moving objects.
        drift: (3,), rotation of the camera in proportion to time, radians.
        shake: (3,), rotation of the camera independent of time, radians.
        strength: factor on all of them.
    """

    offset: float
    camera: Floats
    own: Floats
    drift: Floats
    shake: Floats
    strength: float


class SyntheticMotion:
    """Generator of (key frame, non-key frame, label, flow) from a labelled image, and of a second key frame on the other side.

    The image is the non-key frame, so its label is exact; the key frame is rendered from it. Every connected segment of the label
    map is a plane that lies on the ground, stands on it or is infinitely far (:func:`fit_planes`). A camera that drives, turns
    and shakes, objects that move by themselves and pasted cut-outs give each plane its homography. In a triplet, all velocities
    are constant; the second key frame has its own distance in time, shake, light and noise. A sample is a function of (image,
    label, rng), and a triplet begins with the pair of the same arguments.

    Args:
        layers, camera, objects: decomposition into planes; motion of the camera, and of objects and cut-outs.
        strength: factor on every motion; at 0 the frames differ only by ``photometric`` changes.
        max_displacement: the motion is scaled down until 95 % of the pixels move by less than this share of the longer side.
        deformation: largest standard deviation of a smooth random deformation, in pixels.
        photometric: factor on all changes of light, focus and noise; 0 keeps the values.
    """

    def __init__(
        self,
        layers: LayerSettings | None = None,
        camera: CameraMotion | None = None,
        objects: ObjectMotion | None = None,
        strength: float = 1.0,
        max_displacement: float = 0.125,
        deformation: float = 0.6,
        photometric: float = 1.0,
    ) -> None:
        magnitudes = strength, max_displacement, deformation, photometric
        if min(magnitudes) < 0:
            raise ValueError(f"negative magnitude among {magnitudes}; expected all >= 0")
        self.layers = LayerSettings() if layers is None else layers
        self.camera = CameraMotion() if camera is None else camera
        self.objects = ObjectMotion() if objects is None else objects
        self.strength = strength
        self.max_displacement = max_displacement
        self.deformation = deformation
        self.photometric = photometric

    def __call__(self, image: Tensor, label: Tensor, rng: np.random.Generator, triplet: bool = False) -> PairSample:
        """Generate one sample from an image (3, H, W) uint8 RGB, H and W at least 32, and its label (H, W) int64, values >= 0.

        Its ``nonkey_label`` equals the label except under pasted cut-outs; flow is NaN where the source is hidden.

        Raises:
            ValueError: if image and label differ in size or are too small.
        """
        pair, scene, motion = self._generate(image, label, rng)
        if not triplet:
            return pair
        ratio = self._draw_offset(rng) / motion.offset
        # The fastest object limits the time, since velocities are constant.
        ratio *= float(_share_within(ratio * motion.own, scene.layers, self.max_displacement * max(scene.index.shape)).min())
        scene, time = self._continued(scene, motion, ratio, rng)
        after, flow = render(scene)
        after = self._record(change_light(after, self.photometric, rng), rng)
        return pair._replace(
            offset=-max(round(motion.offset), 1),
            after_image=_to_tensor(after),
            after_flow=torch.from_numpy(flow),
            after_offset=max(round(time), 1),
        )

    def with_key_label(self, image: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[PairSample, Tensor]:
        """Generate the same pair and the label (H, W) int64 of its key frame; label values must be below 256."""
        pair, scene, _ = self._generate(image, label, rng)
        return pair, _rendered_label(scene, label, pair.nonkey_label)

    def clip(self, image: Tensor, label: Tensor, rng: np.random.Generator, frames_between: int) -> PairSample:
        """Generate the same pair with frames between, at equal steps of time, and labels (H, W) int64 of all references.

        Velocities are constant; shake, light and noise are those of each frame. Label values must be below 256.
        """
        pair, scene, motion = self._generate(image, label, rng)
        between, labels = [], [_rendered_label(scene, label, pair.nonkey_label)]
        for number in range(frames_between, 0, -1):
            step, _ = self._continued(scene, motion, -number / (frames_between + 1), rng)
            frame, _ = render(step)
            between.append(_to_tensor(self._record(change_light(frame, self.photometric, rng), rng)))
            labels.append(_rendered_label(step, label, pair.nonkey_label))
        offset = -max(round(motion.offset), 1)
        return pair._replace(offset=offset, between_images=tuple(between), reference_labels=tuple(labels))

    def _generate(self, image: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[PairSample, LayeredScene, LayerMotion]:
        if image.shape != (3, *label.shape) or min(label.shape) < 32:
            raise ValueError(
                f"image is {tuple(image.shape)} and label {tuple(label.shape)}; expected (3, H, W) and (H, W), at least 32"
            )
        still = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        classes = label.numpy().copy()
        settings = self.layers
        segments = split_segments(classes, max(int(settings.min_segment * classes.size), 8), settings.max_segments)
        layers = fit_planes(segments, settings.ground_classes, settings.far_classes, settings.depth_spread, rng)
        homographies, motion = self._move(layers, rng)
        scene = LayeredScene(
            still=still,
            nonkey=still,
            layers=layers,
            index=segments.index,
            homographies=homographies,
            deformation=smooth_field(tuple(label.shape), self.strength * self.deformation * rng.random(), rng),
            interpolation=cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC,
        )
        strength = self.strength * (motion.offset / self.camera.max_offset) ** 0.5
        scene = paste_cutouts(scene, classes, self.objects.max_pasted, strength, self.max_displacement, rng)
        key, flow = render(scene)
        key = change_light(key, self.photometric, rng)
        images = [_to_tensor(self._record(frame, rng)) for frame in (key, scene.nonkey)]
        pair = PairSample(images[0], images[1], torch.from_numpy(classes), torch.from_numpy(flow), "still")
        return pair, scene, motion

    def _continued(
        self, scene: LayeredScene, motion: LayerMotion, ratio: float, rng: np.random.Generator
    ) -> tuple[LayeredScene, float]:
        """Return the scene with the homographies to another frame, and its time after the non-key frame, in frames.

        The time is ``ratio`` times that of the key frame on the other side, less where the motion would be too large; negative
        ratios give frames on the side of the key frame.
        """
        shake = np.deg2rad(rng.normal(0, self.camera.shake, 3))
        reverse = replace(
            motion, camera=-ratio * motion.camera, own=-ratio * motion.own, drift=-ratio * motion.drift, shake=shake
        )
        homographies, scaled = self._within_limit(scene.layers, reverse)
        # Scaled down, the motion is that of a shorter time.
        ratio *= scaled.strength / motion.strength if motion.strength else 1.0
        cutouts = reversed_cutouts(scene, ratio)
        deformation = None if scene.deformation is None else np.float32(min(-ratio, 1) if ratio < 0 else -1) * scene.deformation
        scene = replace(scene, homographies=np.concatenate((homographies, cutouts)), deformation=deformation)
        return scene, ratio * motion.offset

    def _draw_offset(self, rng: np.random.Generator) -> float:
        return float(np.exp(rng.uniform(np.log(0.5), np.log(self.camera.max_offset))))

    def _move(self, layers: Layers, rng: np.random.Generator) -> tuple[Floats, LayerMotion]:
        """Draw the motion of the layers, scaled down to ``max_displacement``, and return its homographies (N, 3, 3) with it."""
        camera, objects, offset = self.camera, self.objects, self._draw_offset(rng)
        drives = rng.random() >= camera.standstill_probability
        forward = camera.max_speed * rng.random() * offset * drives
        forward *= 1 if rng.random() < camera.earlier_key_probability else -1
        across = rng.normal(0, camera.lateral_speed, 2) * (1, 1 / 3) * offset
        shake, drift = np.deg2rad(rng.normal(0, camera.shake, 3)), np.zeros(3)
        drift[1] = np.deg2rad(rng.laplace(0, camera.yaw_rate)) * offset * drives
        count = len(layers.planes)
        own = rng.normal(0, objects.speed, (count, 3)) * (0.25, 0, 1) * offset
        own *= (layers.movable & (rng.random(count) < objects.moving_probability))[:, None]
        own *= _share_within(own, layers, 0.6 * self.max_displacement * max(layers.segments.index.shape))[:, None]
        return self._within_limit(layers, LayerMotion(offset, np.array([*across, forward]), own, drift, shake, self.strength))

    def _within_limit(self, layers: Layers, motion: LayerMotion) -> tuple[Floats, LayerMotion]:
        """Scale a motion down to ``max_displacement`` and return its homographies (N, 3, 3) with it."""
        size = layers.segments.index.shape
        y, x = np.meshgrid(np.arange(0, size[0], 8), np.arange(0, size[1], 8), indexing="ij")
        coarse = layers.segments.index[::8, ::8]
        strength = motion.strength
        for _ in range(8):
            used = replace(motion, strength=strength)
            rotation = np.asarray(cv2.Rodrigues(strength * (motion.shake + motion.drift))[0], np.float64)
            translations = strength * (motion.camera + motion.own)
            homographies = plane_homographies(layers.planes, layers.focal, size, rotation, translations)
            homographies[layers.fixed] = np.eye(3)
            to_x, to_y, ratio = apply_homographies(homographies, coarse, x.astype(np.float32), y.astype(np.float32))
            length = np.where(ratio > 0.05, np.hypot(to_x - x, to_y - y), np.float32(max(size)))
            excess = float(np.percentile(length, 95)) / (self.max_displacement * max(size) + 1e-6)
            if excess <= 1:
                break
            strength *= max(0.9 / excess, 0.3)
        return homographies, used

    def _record(self, image: Bytes, rng: np.random.Generator) -> Bytes:
        """Draw focus, compression and noise independently for each frame, so that sharpness does not reveal the rendered one."""
        sigma, noise, quality = rng.uniform(0, 0.7), rng.uniform(0, 4.0), int(rng.integers(50, 95))
        image = blur(image, sigma * self.photometric)
        image = add_noise(image, noise * self.photometric, rng)
        return compress(image, quality) if rng.random() < 0.2 and self.photometric > 0 else image


def _share_within(own: Floats, layers: Layers, limit: float) -> Floats:
    """Return the share (N,) of translations (N, 3) that moves the middle of a layer by roughly ``limit`` pixels at most."""
    height, width = layers.segments.index.shape
    middle = layers.segments.boxes[:, :2] + layers.segments.boxes[:, 2:] / 2 - np.array([width - 1, height - 1]) / 2
    inverse_depth = (layers.planes * np.column_stack((middle / layers.focal, np.ones(len(middle))))).sum(1)
    length = np.linalg.norm(own, axis=1) * np.abs(inverse_depth) * layers.focal
    return np.asarray(np.minimum(1.0, limit / np.maximum(length, 1e-6)))


def _rendered_label(scene: LayeredScene, label: Tensor, nonkey_label: Tensor) -> Tensor:
    """Return the label (H, W) int64 of the frame to which the homographies of a scene lead."""
    still, nonkey = (np.repeat(np.asarray(part.numpy(), np.uint8)[..., None], 3, 2) for part in (label, nonkey_label))
    found, _ = render(replace(scene, still=still, nonkey=nonkey, interpolation=cv2.INTER_NEAREST))
    return torch.from_numpy(found[..., 0].astype(np.int64))


def _to_tensor(image: Bytes) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()
