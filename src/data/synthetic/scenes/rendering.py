"""Pictures, labels and exact flow of a generated scene.

Convention:
    visibility is decided per pixel by depth. Flow is backward: stored at the non-key pixel, pointing to its source in the key
    frame.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from src.data.synthetic.deformation import Singles
from src.data.synthetic.scenes.shapes import SKY
from src.data.synthetic.scenes.textures import TILE
from src.data.synthetic.scenes.world import Scene, SceneObject
from src.data.synthetic.segments import Bytes, Ints

NEAR = 0.3
"""Least depth at which something is seen, units."""
FAR = 80.0
"""Depth from which on the ground is sky."""
_GROUND_DENSITY = 48.0
_SKY_DENSITY = 96.0


def draw(world: Scene, time: float) -> tuple[Singles, Ints]:
    """Picture and visible thing of every pixel at a time.

    Returns:
        (H, W, 3) float32 0..255, and (H, W) int32, index into ``world.things``.
    """
    picture = np.zeros((*world.camera.size, 3), np.float32)
    return picture, _lay_out(world, time, picture)


def _lay_out(world: Scene, time: float, picture: Singles | None) -> Ints:
    """Index of the visible thing of every pixel (H, W); paints them into ``picture``, far to near, where there is one."""
    height, width = world.camera.size
    depth = np.full((height, width), np.inf, np.float32)
    owner = np.zeros((height, width), np.int32)
    for number in _far_to_near(world, time):
        thing = world.things[number]
        homography = world.homography(thing, time)
        left, top, right, bottom = _reach(thing, homography, (height, width))
        if left >= right or top >= bottom:
            continue
        part = np.s_[top:bottom, left:right]
        x, y = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)[:, None]
        u, v, here = locate(homography, x, y)
        if thing.kind == SKY:
            if picture is not None:
                picture[part] = _paint_sky(thing, u, v)
            continue
        u, v = thing.undeform(u, v, time)
        inside = (here > NEAR) & (here < FAR) & (here < depth[part])
        cover = inside.astype(np.float32)
        if thing.shape is not None:
            distance = thing.shape.at(u, v)
            pixels = distance * np.float32(thing.size * world.camera.focal) / np.maximum(here, np.float32(NEAR))
            cover *= np.clip(0.5 - pixels, 0, 1)
            inside &= distance < 0
        if picture is not None:
            surface = _paint_ground(thing, u, v, here, world.camera.focal) if thing.shape is None else _paint_thing(thing, u, v)
            picture[part] += cover[..., None] * (surface - picture[part])
        np.copyto(depth[part], here, where=inside)
        np.copyto(owner[part], number, where=inside)
    return owner


def flow_between(world: Scene, nonkey: float, key: float) -> Singles:
    """Exact backward flow between two times of a scene.

    Returns:
        (2, H, W) float32, pixels; NaN where the source is covered, outside or behind the camera in the key frame.
    """
    height, width = world.camera.size
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    owner = _lay_out(world, nonkey, None)
    key_x, key_y, key_depth = np.full_like(x, np.nan), np.full_like(x, np.nan), np.full_like(x, np.nan)
    for number in np.flatnonzero(np.bincount(owner.ravel(), minlength=len(world.things))):
        thing, mine = world.things[number], owner == number
        u, v, _ = locate(world.homography(thing, nonkey), x[mine], y[mine])
        u, v = thing.deform(*thing.undeform(u, v, nonkey), key)
        position = world.homography(thing, key) @ np.stack((u, v, np.ones_like(u))).astype(np.float64)
        safe = np.where(position[2] > 1e-3, position[2], np.nan)
        key_x[mine], key_y[mine] = position[0] / safe, position[1] / safe
        key_depth[mine] = np.inf if thing.kind == SKY else position[2]
    inside = (key_x >= 0) & (key_x <= width - 1) & (key_y >= 0) & (key_y <= height - 1) & (key_depth > NEAR)
    visible = inside & ~_covered(world, key, np.where(inside, key_x, 0), np.where(inside, key_y, 0), key_depth, owner)
    flow = np.stack((key_x - x, key_y - y))
    flow[:, ~visible] = np.nan
    return flow.astype(np.float32)


def locate(homography: NDArray[np.float64], x: Singles, y: Singles) -> tuple[Singles, Singles, Singles]:
    """Which point of a plane is seen at a pixel.

    Returns:
        u, v and the depth, which is negative where the plane is behind the camera.
    """
    back = np.linalg.inv(homography)
    (a, b, c), (d, e, f), (g, h, i) = back.astype(np.float64)
    ratio = g * x.astype(np.float64) + (h * y.astype(np.float64) + i)
    depth = 1 / np.where(np.abs(ratio) < 1e-9, 1e-9, ratio)
    u, v = (a * x + (b * y + c)) * depth, (d * x + (e * y + f)) * depth
    return u.astype(np.float32), v.astype(np.float32), depth.astype(np.float32)


def _covered(world: Scene, time: float, x: Singles, y: Singles, depth: Singles, owner: Ints) -> NDArray[np.bool_]:
    """Whether something nearer than ``depth`` lies at positions (x, y)."""
    covered = np.zeros(x.shape, np.bool_)
    for number, thing in enumerate(world.things):
        if thing.kind == SKY:
            continue
        homography = world.homography(thing, time)
        left, top, right, bottom = _reach(thing, homography, world.camera.size)
        asked = (x > left - 1) & (x < right) & (y > top - 1) & (y < bottom) & (owner != number) & ~covered
        if not asked.any():
            continue
        u, v, here = locate(homography, x[asked], y[asked])
        nearer = (here > NEAR) & (here < FAR) & (here < depth[asked])
        if thing.shape is not None:
            nearer &= thing.shape.at(*thing.undeform(u, v, time)).reshape(nearer.shape) < 0
        covered[asked] = nearer
    return covered


def _far_to_near(world: Scene, time: float) -> list[int]:
    depths = [np.inf, FAR] + [float(world.homography(thing, time)[2, 2]) for thing in world.things[2:]]
    return [int(i) for i in np.argsort(-np.array(depths), kind="stable")]


def _reach(thing: SceneObject, homography: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box of pixels (left, top, right, bottom; the ends excluded) outside which nothing of a thing is seen."""
    height, width = size
    if thing.shape is None:
        return 0, 0, width, height
    rows, columns = thing.shape.distance.shape
    u0, v0 = thing.shape.corner
    u1, v1 = u0 + columns / thing.shape.density, v0 + rows / thing.shape.density
    slack_u, slack_v = thing.sway[:, 0]
    corners = np.array([(u, v, 1.0) for u in (u0 - slack_u, u1 + slack_u) for v in (v0 - slack_v, v1 + slack_v)])
    x, y, depth = homography @ corners.T
    if depth.max() < NEAR:
        return 0, 0, 0, 0
    if depth.min() < NEAR:
        return 0, 0, width, height
    x, y = x / depth, y / depth
    left, top = max(int(np.floor(x.min())), 0), max(int(np.floor(y.min())), 0)
    return left, top, min(int(np.ceil(x.max())) + 1, width), min(int(np.ceil(y.max())) + 1, height)


def _paint_sky(thing: SceneObject, u: Singles, v: Singles) -> Singles:
    columns, rows = (u + 4) * np.float32(_SKY_DENSITY), (v + np.float32(2.6)) * np.float32(_SKY_DENSITY)
    return np.asarray(cv2.remap(thing.texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


def _paint_thing(thing: SceneObject, u: Singles, v: Singles) -> Singles:
    assert thing.shape is not None
    columns, rows = thing.shape.sample_positions(u, v)
    return np.asarray(cv2.remap(thing.texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _paint_ground(thing: SceneObject, u: Singles, v: Singles, depth: Singles, focal: float) -> Singles:
    """The tiled texture, smoother with distance: along the view a far pixel covers depth squared over focal units."""
    columns, rows = (u * np.float32(_GROUND_DENSITY)) % TILE, (v * np.float32(_GROUND_DENSITY)) % TILE
    level = np.log2(np.maximum(depth * depth * np.float32(_GROUND_DENSITY / focal), 1)) / 2
    result = np.zeros((*columns.shape, 3), np.float32)
    for step, texture in enumerate(thing.pyramid):
        layer = np.asarray(cv2.remap(texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)
        result = layer if step == 0 else result + np.clip(level - (step - 1), 0, 1)[..., None] * (layer - result)
    return result


def expose(picture: Singles, gain: float, noise: float, rng: np.random.Generator) -> Bytes:
    """What the camera records: brightness changed by a factor, noise (grey levels) added, rounded."""
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(noise)
    return np.asarray((picture * np.float32(gain) + grain).clip(0, 255).round(), np.uint8)
