"""Copies of small segments pasted elsewhere into the non-key frame, each with its own motion."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from src.data.synthetic.segments import Floats
from src.data.synthetic.stills.rendering import LayeredScene
from src.structures import IGNORE_INDEX


def paste_cutouts(
    scene: LayeredScene,
    classes: NDArray[np.int64],
    max_pasted: int,
    strength: float,
    max_displacement: float,
    rng: np.random.Generator,
) -> LayeredScene:
    """Paste copies of small segments as new layers in front of all others.

    Args:
        scene: without cut-outs.
        classes: (H, W), label of the non-key frame; changed in place.
        max_pasted: 0 to this number of copies are pasted.
        strength: factor on their motion.
        max_displacement: scale of their shifts, as share of the longer side of the image.
        rng: source of every random choice.
    """
    segments, count = scene.layers.segments, len(scene.layers.planes)
    share = segments.areas / segments.index.size
    pool = np.flatnonzero(scene.layers.movable & (segments.classes != IGNORE_INDEX) & (share > 1e-3) & (share < 0.06))
    number = int(rng.integers(0, max_pasted + 1))
    if len(pool) == 0 or number == 0:
        return scene
    nonkey, index, homographies = scene.nonkey.copy(), scene.index.copy(), [scene.homographies]
    height, width = index.shape
    for i in rng.choice(pool, number):
        left, top, wide, tall = (int(v) for v in segments.boxes[i])
        scale, flip = float(np.exp(rng.uniform(np.log(0.6), np.log(1.6)))), slice(None, None, -1 if rng.random() < 0.5 else 1)
        patch = scene.still[top : top + tall, left : left + wide][:, flip]
        mask = (segments.index[top : top + tall, left : left + wide] == i)[:, flip].astype(np.uint8) * 255
        size = max(round(wide * scale), 3), max(round(tall * scale), 3)
        patch, mask = (np.asarray(cv2.resize(np.ascontiguousarray(part), size), np.uint8) for part in (patch, mask))
        corner_x = int(rng.integers(-size[0] // 2, width - size[0] // 2))
        corner_y = round(top + tall - size[1] + float(rng.normal(0, 0.1)) * height)
        x0, y0 = max(corner_x, 0), max(corner_y, 0)
        x1, y1 = min(corner_x + size[0], width), min(corner_y + size[1], height)
        middle = np.array([corner_x + size[0] / 2, corner_y + size[1] / 2])
        homographies.append(_cutout_homography(scene, int(i), middle, strength, max_displacement, rng)[None])
        if x0 >= x1 or y0 >= y1:
            continue
        part = np.s_[y0 - corner_y : y1 - corner_y, x0 - corner_x : x1 - corner_x]
        visible = mask[part] > 127
        nonkey[y0:y1, x0:x1][visible] = patch[part][visible]
        index[y0:y1, x0:x1][visible] = count + len(homographies) - 2
        classes[y0:y1, x0:x1][visible] = segments.classes[i]
    return replace(scene, nonkey=nonkey, index=index, homographies=np.concatenate(homographies))


def _cutout_homography(
    scene: LayeredScene, i: int, middle: Floats, strength: float, max_displacement: float, rng: np.random.Generator
) -> Floats:
    """Combine the motion of segment ``i`` at its original place with a shift, rotation and scaling of the cut-out's own."""
    height, width = scene.index.shape
    shift = rng.normal(0, 0.35 * max_displacement, 2) * (1, 0.4) * max(height, width) * strength
    angle, scale = np.deg2rad(rng.normal(0, 2.5)) * strength, np.exp(rng.normal(0, 0.08) * strength)
    x, y, wide, tall = (float(v) for v in scene.layers.segments.boxes[i])
    start = np.array([x + wide / 2, y + tall / 2, 1.0])
    end = scene.homographies[i] @ start
    carried = end[:2] / end[2] - start[:2] if end[2] > 0.05 else np.zeros(2)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    homography = np.eye(3)
    homography[:2, :2] = rotation
    homography[:2, 2] = middle + shift + carried.clip(-0.2 * width, 0.2 * width) - rotation @ middle
    return homography


def reversed_cutouts(scene: LayeredScene, ratio: float) -> Floats:
    """Return the homographies (J, 3, 3) of the cut-outs ``ratio`` times their time before the non-key frame, after it.

    Their velocities, rotations and growth about the middle of each cut-out are constant.
    """
    count = len(scene.layers.planes)
    homographies = np.tile(np.eye(3), (len(scene.homographies) - count, 1, 1))
    for number, key in enumerate(scene.homographies[count:]):
        x, y, wide, tall = cv2.boundingRect((scene.index == count + number).astype(np.uint8))
        middle = np.array([x + wide / 2, y + tall / 2])
        turn = np.log(complex(key[0, 0], key[1, 0])) * -ratio
        grown = np.exp(turn)
        rotation = np.array([[grown.real, -grown.imag], [grown.imag, grown.real]])
        shift = -ratio * (key[:2, :2] @ middle + key[:2, 2] - middle)
        homographies[number, :2, :2] = rotation
        homographies[number, :2, 2] = middle + shift - rotation @ middle
    return homographies
