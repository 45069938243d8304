"""Images, labels and exact flow of a generated scene.

Convention:
    visibility is decided for each pixel by depth. Flow is backward: stored at the non-key pixel, pointing to its source in the
    key frame.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from src.data.synthetic.scenes.shapes import SKY
from src.data.synthetic.scenes.textures import TILE
from src.data.synthetic.scenes.world import Scene, SceneObject
from src.data.synthetic.segments import Bytes, Ints, Singles

NEAR = 0.3
"""Smallest visible depth, units."""
FAR = 80.0
"""Depth beyond which the ground is hidden by the sky, units."""
_GROUND_DENSITY = 48.0
_SKY_DENSITY = 96.0


def render_frame(scene: Scene, time: float) -> tuple[Singles, Ints]:
    """Return the image (H, W, 3) float32 0..255 and the visible object of every pixel, (H, W) int32, at a time."""
    image = np.zeros((*scene.camera.size, 3), np.float32)
    return image, _rasterize(scene, time, image)


def _rasterize(scene: Scene, time: float, image: Singles | None) -> Ints:
    """Return the index of the visible object of every pixel (H, W); if ``image`` is given, paint the objects, far to near."""
    height, width = scene.camera.size
    depth = np.full((height, width), np.inf, np.float32)
    owner = np.zeros((height, width), np.int32)
    distances = [np.inf, FAR] + [float(scene.homography(obj, time)[2, 2]) for obj in scene.objects[2:]]
    # From far to near.
    for number in np.argsort(-np.array(distances), kind="stable").tolist():
        obj = scene.objects[number]
        homography = scene.homography(obj, time)
        left, top, right, bottom = _bounding_box(obj, homography, (height, width))
        if left >= right or top >= bottom:
            continue
        part = np.s_[top:bottom, left:right]
        x, y = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)[:, None]
        u, v, depth_here = unproject(homography, x, y)
        if obj.kind == SKY:
            if image is not None:
                image[part] = _paint_sky(obj, u, v)
            continue
        u, v = obj.undeform(u, v, time)
        inside = (depth_here > NEAR) & (depth_here < FAR) & (depth_here < depth[part])
        cover = inside.astype(np.float32)
        if obj.shape is not None:
            distance = obj.shape.at(u, v)
            pixels = distance * np.float32(obj.size * scene.camera.focal) / np.maximum(depth_here, np.float32(NEAR))
            cover *= np.clip(0.5 - pixels, 0, 1)
            inside &= distance < 0
        if image is not None:
            surface = _paint_ground(obj, u, v, depth_here, scene.camera.focal) if obj.shape is None else _paint_object(obj, u, v)
            image[part] += cover[..., None] * (surface - image[part])
        np.copyto(depth[part], depth_here, where=inside)
        np.copyto(owner[part], number, where=inside)
    return owner


def flow_between(scene: Scene, nonkey: float, key: float) -> Singles:
    """Compute the exact backward flow (2, H, W), pixels; NaN where the source is covered, outside or behind the camera."""
    height, width = scene.camera.size
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    owner = _rasterize(scene, nonkey, None)
    key_x, key_y, key_depth = np.full_like(x, np.nan), np.full_like(x, np.nan), np.full_like(x, np.nan)
    for number in np.flatnonzero(np.bincount(owner.ravel(), minlength=len(scene.objects))):
        obj, own = scene.objects[number], owner == number
        u, v, _ = unproject(scene.homography(obj, nonkey), x[own], y[own])
        u, v = obj.deform(*obj.undeform(u, v, nonkey), key)
        position = scene.homography(obj, key) @ np.stack((u, v, np.ones_like(u))).astype(np.float64)
        safe = np.where(position[2] > 1e-3, position[2], np.nan)
        key_x[own], key_y[own] = position[0] / safe, position[1] / safe
        key_depth[own] = np.inf if obj.kind == SKY else position[2]
    inside = (key_x >= 0) & (key_x <= width - 1) & (key_y >= 0) & (key_y <= height - 1) & (key_depth > NEAR)
    visible = inside & ~_covered(scene, key, np.where(inside, key_x, 0), np.where(inside, key_y, 0), key_depth, owner)
    flow = np.stack((key_x - x, key_y - y))
    flow[:, ~visible] = np.nan
    return flow.astype(np.float32)


def unproject(homography: NDArray[np.float64], x: Singles, y: Singles) -> tuple[Singles, Singles, Singles]:
    """Return the point (u, v) of a plane that is visible at a pixel, and its depth, negative behind the camera."""
    (a, b, c), (d, e, f), (g, h, i) = np.linalg.inv(homography)
    ratio = g * x.astype(np.float64) + (h * y.astype(np.float64) + i)
    depth = 1 / np.where(np.abs(ratio) < 1e-9, 1e-9, ratio)
    u, v = (a * x + (b * y + c)) * depth, (d * x + (e * y + f)) * depth
    return u.astype(np.float32), v.astype(np.float32), depth.astype(np.float32)


def _covered(scene: Scene, time: float, x: Singles, y: Singles, depth: Singles, owner: Ints) -> NDArray[np.bool_]:
    """Return true where an object nearer than ``depth`` covers position (x, y)."""
    covered = np.zeros(x.shape, np.bool_)
    for number, obj in enumerate(scene.objects):
        if obj.kind == SKY:
            continue
        homography = scene.homography(obj, time)
        left, top, right, bottom = _bounding_box(obj, homography, scene.camera.size)
        asked = (x > left - 1) & (x < right) & (y > top - 1) & (y < bottom) & (owner != number) & ~covered
        if not asked.any():
            continue
        u, v, depth_here = unproject(homography, x[asked], y[asked])
        nearer = (depth_here > NEAR) & (depth_here < FAR) & (depth_here < depth[asked])
        if obj.shape is not None:
            nearer &= obj.shape.at(*obj.undeform(u, v, time)).reshape(nearer.shape) < 0
        covered[asked] = nearer
    return covered


def _bounding_box(obj: SceneObject, homography: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of an object in pixels: left, top, right, bottom, ends excluded."""
    height, width = size
    if obj.shape is None:
        return 0, 0, width, height
    rows, columns = obj.shape.distance.shape
    u0, v0 = obj.shape.corner
    u1, v1 = u0 + columns / obj.shape.density, v0 + rows / obj.shape.density
    slack_u, slack_v = obj.sway[:, 0]
    corners = np.array([(u, v, 1.0) for u in (u0 - slack_u, u1 + slack_u) for v in (v0 - slack_v, v1 + slack_v)])
    x, y, depth = homography @ corners.T
    if depth.max() < NEAR:
        return 0, 0, 0, 0
    if depth.min() < NEAR:
        return 0, 0, width, height
    x, y = x / depth, y / depth
    left, top = max(int(np.floor(x.min())), 0), max(int(np.floor(y.min())), 0)
    return left, top, min(int(np.ceil(x.max())) + 1, width), min(int(np.ceil(y.max())) + 1, height)


def _paint_sky(obj: SceneObject, u: Singles, v: Singles) -> Singles:
    columns, rows = (u + 4) * np.float32(_SKY_DENSITY), (v + np.float32(2.6)) * np.float32(_SKY_DENSITY)
    return np.asarray(cv2.remap(obj.texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


def _paint_object(obj: SceneObject, u: Singles, v: Singles) -> Singles:
    assert obj.shape is not None
    columns, rows = obj.shape.sample_positions(u, v)
    return np.asarray(cv2.remap(obj.texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _paint_ground(obj: SceneObject, u: Singles, v: Singles, depth: Singles, focal: float) -> Singles:
    """Sample the tiled texture, smoother with distance: along the view, a pixel covers depth squared over focal units."""
    columns, rows = (u * np.float32(_GROUND_DENSITY)) % TILE, (v * np.float32(_GROUND_DENSITY)) % TILE
    level = np.log2(np.maximum(depth * depth * np.float32(_GROUND_DENSITY / focal), 1)) / 2
    result = np.zeros((*columns.shape, 3), np.float32)
    for step, texture in enumerate(obj.pyramid):
        layer = np.asarray(cv2.remap(texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)
        result = layer if step == 0 else result + np.clip(level - (step - 1), 0, 1)[..., None] * (layer - result)
    return result


def expose(image: Singles, gain: float, noise: float, rng: np.random.Generator) -> Bytes:
    """Simulate the exposure: scale brightness by a factor, add noise (grey levels) and round."""
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(noise)
    return np.asarray((image * np.float32(gain) + grain).clip(0, 255).round(), np.uint8)
