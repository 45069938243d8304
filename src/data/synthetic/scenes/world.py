"""Geometry of a generated scene over time: moving planes before a moving camera.

Convention:
    world axes x right, y down, z ahead; the ground is y = 0 and the camera one unit above it. Time is counted in frames.
    An object lies on its own plane with coordinates (u, v); its pose is the 3x3 matrix (U, V, O), so that (u, v, 1) is the world
    point u U + v V + O. Pixel centers are at integer positions.
"""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from src.data.synthetic.scenes.shapes import BALL, CRATE, GROUND, OBJECT_KINDS, POLE, RING, SKY, TREE, WALL, Outline, outline
from src.data.synthetic.scenes.textures import ground_texture, object_texture, sky_texture
from src.data.synthetic.segments import Floats, Singles

_INVERSE_STEPS = 12


@dataclass(frozen=True)
class Camera:
    """Camera that drives, drifts and rotates.

    Attributes:
        size: (H, W) of the image.
        focal: pixels.
        velocity: (3,), units per frame.
        oscillation: (3, 3), rows pitch, yaw and roll: amplitude (radians), frequency (radians per frame), phase.
    """

    size: tuple[int, int]
    focal: float
    velocity: Floats
    oscillation: Floats

    def projection(self, time: float) -> tuple[Floats, Floats]:
        """Return the matrix (3, 3) from world directions to pixels, and the position (3,) of the camera."""
        angles = self.oscillation[:, 0] * np.sin(self.oscillation[:, 1] * time + self.oscillation[:, 2])
        rotation = np.asarray(cv2.Rodrigues(angles)[0], np.float64)
        height, width = self.size
        lens = np.array([[self.focal, 0, (width - 1) / 2], [0, self.focal, 0.42 * height], [0, 0, 1]])
        return lens @ rotation, np.array([0, -1.0, 0]) + self.velocity * time


@dataclass(frozen=True)
class SceneObject:
    """Plane of a scene: the sky, the ground, a wall or an object.

    Attributes:
        kind: class.
        seed: of the texture.
        shape: outline; ``None`` for sky and ground, which have no edge.
        position: (3,), world position at ``reference_time`` (frames).
        velocity: (3,), units per frame.
        bounce: height (units) and frequency (radians per frame) of the bouncing.
        size: units of the world per unit of the plane.
        scale_wobble: amplitude and frequency of the oscillating size.
        rotation: angle in the plane at ``reference_time`` (radians), its rate per frame, and amplitude and frequency of rocking.
        direction: angle about the vertical at ``reference_time`` (radians) and its rate per frame.
        sway: (2, 4): amplitude (units of the plane), wave number, frequency, phase of the shift of u along v, and of v along u.
    """

    kind: int
    seed: tuple[int, ...]
    shape: Outline | None = None
    position: Floats = field(default_factory=lambda: np.zeros(3))
    reference_time: float = 0.0
    velocity: Floats = field(default_factory=lambda: np.zeros(3))
    bounce: tuple[float, float] = (0.0, 0.0)
    size: float = 1.0
    scale_wobble: tuple[float, float] = (0.0, 0.0)
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    direction: tuple[float, float] = (0.0, 0.0)
    sway: Floats = field(default_factory=lambda: np.zeros((2, 4)))

    @cached_property
    def texture(self) -> Singles:
        """Texture (h, w, 3), float32 0..255."""
        rng = np.random.default_rng(self.seed)
        if self.kind == SKY:
            return sky_texture((384, 768), rng)
        if self.shape is None:
            return ground_texture(rng)
        return object_texture(self.kind, self.shape, rng)

    @cached_property
    def pyramid(self) -> tuple[Singles, ...]:
        """Texture at four degrees of smoothness, as a tile."""
        edge = 16
        padded = np.pad(self.texture, ((edge, edge), (edge, edge), (0, 0)), "wrap")
        smooth = [cv2.GaussianBlur(padded, (0, 0), 0.8 * 2.0**step)[edge:-edge, edge:-edge] for step in (1, 2, 3)]
        return (self.texture, *(np.asarray(texture, np.float32) for texture in smooth))

    def pose(self, time: float) -> Floats:
        """Return (3, 3), columns U, V and O, at a time."""
        if self.kind == SKY:
            return np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
        if self.kind == GROUND:
            return np.array([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]])
        elapsed = time - self.reference_time
        position = self.position + self.velocity * elapsed
        position[1] -= self.bounce[0] * abs(np.sin(self.bounce[1] * time))
        angle = self.rotation[0] + self.rotation[1] * elapsed + self.rotation[2] * np.sin(self.rotation[3] * time)
        direction = self.direction[0] + self.direction[1] * elapsed
        right, down = np.array([np.cos(direction), 0, np.sin(direction)]), np.array([0, 1.0, 0])
        size = self.size * (1 + self.scale_wobble[0] * np.sin(self.scale_wobble[1] * time))
        across = size * (np.cos(angle) * right + np.sin(angle) * down)
        along = size * (-np.sin(angle) * right + np.cos(angle) * down)
        return np.column_stack((across, along, position))

    def undeform(self, u: Singles, v: Singles, time: float) -> tuple[Singles, Singles]:
        """Map a position on the swaying plane to the point of the object at that position."""
        (a, k, w, p), (b, m, x, q) = self.sway
        moved_u = u + np.float32(a) * np.sin(np.float32(k) * v + np.float32(w * time + p))
        return moved_u, v + np.float32(b) * np.sin(np.float32(m) * u + np.float32(x * time + q))

    def deform(self, u: Singles, v: Singles, time: float) -> tuple[Singles, Singles]:
        """Map a point of the object to its position: the inverse of :meth:`undeform`, by fixed-point iteration.

        Each step divides the error by at least 3, as sway amplitude times wave number is below 0.3.
        """
        there_u, there_v = u, v
        if not self.sway[:, 0].any():
            return u, v
        for _ in range(_INVERSE_STEPS):
            ahead_u, ahead_v = self.undeform(there_u, there_v, time)
            there_u, there_v = there_u + u - ahead_u, there_v + v - ahead_v
        return there_u, there_v


@dataclass(frozen=True)
class Scene:
    """Camera and objects; the sky is the first object and the ground the second."""

    camera: Camera
    objects: tuple[SceneObject, ...]

    def homography(self, obj: SceneObject, time: float) -> Floats:
        """Return (3, 3) from (u, v, 1) to (x, y, 1) times depth; the sky is infinitely far and its depth undefined."""
        projection, eye = self.camera.projection(time)
        pose = obj.pose(time)
        if obj.kind != SKY:
            pose[:, 2] -= eye
        return np.asarray(projection @ pose)


def build_scene(seed: tuple[int, ...], size: tuple[int, int], num_frames: int) -> Scene:
    """Draw a scene from a seed: a camera, distant walls, and objects that are each visible at some time."""
    rng = np.random.default_rng(seed)
    camera = Camera(
        size=size,
        focal=0.9 * size[1],
        velocity=rng.uniform((-0.025, 0, -0.02), (0.025, 0, 0.04)),
        oscillation=np.column_stack(
            (np.deg2rad(rng.uniform((0.3, 1, 0.3), (0.8, 3.5, 1.5))), rng.uniform(0.12, 0.3, 3), rng.uniform(0, 6.3, 3))
        ),
    )
    objects = [SceneObject(SKY, (*seed, 0)), SceneObject(GROUND, (*seed, 1))]
    objects += [_wall((*seed, 2 + number), rng) for number in range(int(rng.integers(3, 6)))]
    kinds = rng.permutation(np.tile(OBJECT_KINDS, 2))[: int(rng.integers(6, 9))]
    for number, kind in enumerate(kinds):
        reference_time = (number + rng.uniform(0, 1)) / len(kinds) * num_frames
        objects.append(_object(int(kind), reference_time, camera, (*seed, len(objects)), rng))
    return Scene(camera, tuple(objects))


def _wall(seed: tuple[int, ...], rng: np.random.Generator) -> SceneObject:
    depth = rng.uniform(7, 13)
    position = np.array([rng.uniform(-0.65, 0.65) * depth, 0.0, depth])
    direction = (float(rng.uniform(-0.7, 0.7)), 0.0)
    return SceneObject(WALL, seed, outline(WALL, rng), position, direction=direction)


def _object(kind: int, reference_time: float, camera: Camera, seed: tuple[int, ...], rng: np.random.Generator) -> SceneObject:
    """Draw an object inside the image at ``reference_time`` that stands, rolls, tumbles or flies, depending on its class."""
    rooted = kind in (TREE, POLE)
    low, high = {TREE: (0.8, 1.4), POLE: (0.8, 1.3), BALL: (0.28, 0.6), CRATE: (0.3, 0.6), RING: (0.35, 0.7)}[kind]
    size, depth = float(rng.uniform(low, high)), float(rng.uniform(2.6, 6.5))
    side = rng.uniform(-0.5, 0.5) * depth * camera.size[1] / camera.focal
    tumbles = kind == CRATE and rng.random() < 0.5
    lift = 0.0 if rooted else size * 0.45 if tumbles else float(rng.uniform(0, 0.9)) if kind == RING else 0.0
    _, eye = camera.projection(reference_time)
    position = np.array([eye[0] + side, -size - lift, eye[2] + depth])
    # Few are fast enough to cross the image within a clip.
    pace = 0.008 if rooted else 0.12 if rng.random() < 0.2 else 0.03
    velocity = np.array([rng.normal(0, pace), 0.0, rng.normal(0, 0.4 * pace)])
    spin = velocity[0] / size if kind in (BALL, RING) else rng.normal(0, 0.05) if tumbles else 0.0
    rocking = (float(rng.uniform(0.02, 0.08)), float(rng.uniform(0.1, 0.4)))
    angle = rng.uniform(0, 6.3) if kind in (BALL, RING) or tumbles else 0.0
    sway = np.column_stack(
        (rng.uniform(0.02, 0.07, 2), rng.uniform(1.5, 4, 2), rng.uniform(0.15, 0.5, 2), rng.uniform(0, 6.3, 2))
    )
    if kind == POLE:
        sway[:, 0] *= (0.6, 0)
    return SceneObject(
        kind=kind,
        shape=outline(kind, rng),
        position=position,
        reference_time=reference_time,
        velocity=velocity,
        bounce=(float(rng.uniform(0, 0.6)), float(rng.uniform(0.06, 0.16))) if kind == BALL else (0.0, 0.0),
        size=size,
        scale_wobble=(float(rng.uniform(0, 0.1)), float(rng.uniform(0.1, 0.4))) if kind in (BALL, RING) else (0.0, 0.0),
        rotation=(float(angle), float(spin), *rocking) if rooted or kind == CRATE else (float(angle), float(spin), 0.0, 0.0),
        direction=(float(rng.uniform(-0.5, 0.5)), float(rng.normal(0, 0.015))),
        sway=sway,
        seed=seed,
    )
