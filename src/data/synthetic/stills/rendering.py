"""Rendering of the key frame of a layered still, and the exact flow to it.

Convention:
    a homography maps homogeneous pixel positions of the non-key frame to those of the key frame; the third component of the
    result is the ratio of the two depths, positive in front of the camera. Flow is backward: stored at the non-key pixel,
    pointing to its source in the key frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from src.data.synthetic.deformation import invert_deformation
from src.data.synthetic.segments import Bytes, Floats, Ints, Singles
from src.data.synthetic.stills.layers import Layers, extend_background

NEAREST_DEPTH_RATIO = 0.05
"""Depth ratio below which a plane counts as having passed the camera."""


@dataclass(frozen=True)
class LayeredScene:
    """Non-key frame as layers, with a homography for each.

    Attributes:
        still: (H, W, 3) uint8, the image without pasted cut-outs.
        nonkey: (H, W, 3) uint8, the image with them.
        layers: the planes of ``still``, N of them.
        index: (H, W) int32, visible layer of every pixel of ``nonkey``; N + j for cut-out j.
        homographies: (N + J, 3, 3), non-key to key, of the N layers and J cut-outs.
        deformation: (H, W, 2) float32, pixels added to a position before the homographies of the N layers, or ``None``.
        interpolation: of the key frame, an OpenCV flag.
    """

    still: Bytes
    nonkey: Bytes
    layers: Layers
    index: Ints
    homographies: Floats
    deformation: Singles | None
    interpolation: int


def plane_homographies(planes: Floats, focal: float, size: tuple[int, int], rotation: Floats, translations: Floats) -> Floats:
    """Return the homographies (N, 3, 3) that a motion of the camera induces on planes (N, 3).

    The rotation (3, 3) maps non-key to key camera axes. Translations (N, 3) follow it; those of moving objects have their own.
    """
    camera = np.array([[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1]])
    return np.asarray(camera @ (rotation + translations[:, :, None] * planes[:, None, :]) @ np.linalg.inv(camera))


def apply_homographies(homographies: Floats, index: Ints, x: Singles, y: Singles) -> tuple[Singles, Singles, Singles]:
    """Map every position by the homography (N, 3, 3) of its index; x and y have the shape (h, w) or broadcast to it.

    Returns:
        Columns, rows and depth ratios, each (h, w); positions are undefined where the ratio is not positive.
    """
    if len(homographies) == 1 or bool((homographies == homographies[0]).all()):
        a = list(homographies[0].ravel().astype(np.float32))
    else:
        table = np.ascontiguousarray(homographies.reshape(-1, 9).T.astype(np.float32))
        # Clipped indices of native size are three times faster, and this lookup takes half of the time of a pair.
        where = index.astype(np.intp)
        a = [np.take(row, where, mode="clip") for row in table]
    ratio = a[6] * x + a[7] * y + a[8]
    safe = np.maximum(ratio, np.float32(1e-3))
    return (a[0] * x + a[1] * y + a[2]) / safe, (a[3] * x + a[4] * y + a[5]) / safe, ratio


def render(scene: LayeredScene) -> tuple[Bytes, Singles]:
    """Paint the key frame from far to near and compute the flow.

    Returns:
        Key image (H, W, 3) uint8, and flow (2, H, W) float32, NaN where the source is covered, outside or behind the camera.
    """
    height, width = scene.index.shape
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    backdrop_index, backdrop = extend_background(scene.still, scene.layers)
    layer_index = scene.layers.segments.index
    inverse = None
    if scene.deformation is not None:
        inverse = invert_deformation(scene.deformation)
        positions = inverse[..., 0] + x, inverse[..., 1] + y
        backdrop_index, layer_index = (_nearest(index, *positions) for index in (backdrop_index, layer_index))
    painted, owners, first_layer = _paint_layers(scene, backdrop_index, layer_index)
    count = len(scene.layers.planes)
    backwards = np.asarray(np.linalg.inv(scene.homographies)[owners], np.float64)
    source_x, source_y, _ = apply_homographies(backwards, painted, x, y)
    pasted = painted >= first_layer + count
    if inverse is not None:
        # Cut-outs are pasted on the deformed still and are not deformed themselves.
        shift = cv2.remap(inverse, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        shift[pasted] = 0
        source_x, source_y = source_x + shift[..., 0], source_y + shift[..., 1]
    sheet = (painted < first_layer) + 2 * pasted
    canvas = np.concatenate((scene.still, backdrop, scene.nonkey))
    source_y = _reflect(source_y, height) + sheet.astype(np.float32) * np.float32(height)
    key = cv2.remap(canvas, _reflect(source_x, width), source_y, scene.interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(key, np.uint8), _flow(scene, painted, first_layer)


def _paint_layers(scene: LayeredScene, backdrop_index: Ints, layer_index: Ints) -> tuple[Ints, Ints, int]:
    """Paint coats over one another: the extended background, the layers, the cut-outs.

    Returns:
        Number of the topmost coat of every key pixel (H, W), layer of every coat, and number of the first layer's coat.
    """
    layers, count = scene.layers, len(scene.layers.planes)
    height, width = layer_index.shape
    by_depth = np.argsort(layers.depth_rank)
    behind = by_depth[layers.background[by_depth]]
    owners = np.concatenate((behind, by_depth, np.arange(count, len(scene.homographies)))).astype(np.int32)
    margin = min(height, width) // 4
    pads = [np.pad(index, margin, mode="reflect") for index in (backdrop_index, layer_index)]
    bend = 0 if scene.deformation is None else int(np.ceil(np.abs(scene.deformation).max())) + 1
    # Pixels without a coat belong to coat 0, the farthest background.
    painted = np.zeros((height, width), np.int32)
    front_facing = np.linalg.det(scene.homographies) > 0
    ratios = np.linalg.inv(scene.homographies)[:, 2]
    for coat, layer in enumerate(owners):
        if coat < len(behind):
            box = (-margin, -margin, width + margin, height + margin)
        elif layer < count:
            box = _extended_box(layers.segments.extents[layer], bend, margin, (height, width))
        else:
            x, y, wide, tall = cv2.boundingRect((scene.index == layer).astype(np.uint8))
            box = x, y, x + wide, y + tall
        left, top, right, bottom = box
        if not front_facing[layer] or left >= right or top >= bottom:
            continue
        if layer >= count:
            mask = scene.index[top:bottom, left:right] == layer
        else:
            pad = pads[0] if coat < len(behind) else pads[1]
            mask = pad[top + margin : bottom + margin, left + margin : right + margin] == layer
        _paint(painted, coat, mask, (left, top), scene.homographies[layer], ratios[layer])
    return painted, owners, len(behind)


def _extended_box(extent: Ints, bend: int, margin: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of a layer, extended beyond a border that it touches: objects do not end at the edge of the image."""
    left, top, wide, tall = (int(v) for v in extent)
    right, bottom = left + wide, top + tall
    left = -min(margin, right) if left == 0 else max(left - bend, 0)
    top = -min(margin, bottom) if top == 0 else max(top - bend, 0)
    right = size[1] + min(margin, wide) if right == size[1] else min(right + bend, size[1])
    bottom = size[0] + min(margin, tall) if bottom == size[0] else min(bottom + bend, size[0])
    return left, top, right, bottom


def _paint(painted: Ints, coat: int, mask: NDArray[np.bool_], corner: tuple[int, int], homography: Floats, ratio: Floats) -> None:
    """Mark the key pixels that a mask maps to; ``ratio`` (3,) gives the depth ratio from a key position to the non-key frame."""
    height, width = painted.shape
    left, top = corner
    right, bottom = left + mask.shape[1] - 1, top + mask.shape[0] - 1
    corners = homography @ np.array([[left, right, left, right], [top, top, bottom, bottom], [1.0] * 4])
    x0, y0, x1, y1 = 0, 0, width, height
    if (corners[2] > NEAREST_DEPTH_RATIO).all():
        reach_x, reach_y = corners[0] / corners[2], corners[1] / corners[2]
        x0, x1 = max(int(np.floor(reach_x.min())), 0), min(int(np.ceil(reach_x.max())) + 1, width)
        y0, y1 = max(int(np.floor(reach_y.min())), 0), min(int(np.ceil(reach_y.max())) + 1, height)
    if x0 >= x1 or y0 >= y1:
        return
    shifted = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1.0]]) @ homography @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    covered = cv2.warpPerspective(mask.view(np.uint8), shifted, (x1 - x0, y1 - y0), flags=cv2.INTER_NEAREST).view(np.bool_)
    # Positions behind the camera satisfy the same equations with the opposite sign.
    ends = [ratio[0] * x + ratio[1] * y + ratio[2] for x in (x0, x1) for y in (y0, y1)]
    if min(ends) <= 0:
        covered &= ratio[0] * np.arange(x0, x1) + (ratio[1] * np.arange(y0, y1) + ratio[2])[:, None] > 0
    np.copyto(painted[y0:y1, x0:x1], coat, where=covered)


def _flow(scene: LayeredScene, painted: Ints, first_layer: int) -> Singles:
    height, width = scene.index.shape
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    start_x, start_y = x, y
    count = len(scene.layers.planes)
    if scene.deformation is not None:
        bends = (scene.index < count).astype(np.float32)
        start_x, start_y = x + scene.deformation[..., 0] * bends, y + scene.deformation[..., 1] * bends
    key_x, key_y, ratio = apply_homographies(scene.homographies, scene.index, start_x, start_y)
    inside = (key_x >= 0) & (key_x <= width - 1) & (key_y >= 0) & (key_y <= height - 1) & (ratio > NEAREST_DEPTH_RATIO)
    column = np.rint(np.where(inside, key_x, 0)).astype(np.int32)
    row = np.rint(np.where(inside, key_y, 0)).astype(np.int32)
    layer_coat = first_layer + np.arange(len(scene.homographies), dtype=np.int32)
    layer_coat[:count] = first_layer + scene.layers.depth_rank
    visible = inside & (painted.ravel()[row * width + column] <= layer_coat[scene.index])
    flow = np.stack((key_x - x, key_y - y)).astype(np.float32)
    np.copyto(flow, np.nan, where=~visible)
    return np.asarray(flow, np.float32)


def _nearest(index: Ints, x: Singles, y: Singles) -> Ints:
    column = np.rint(x).astype(np.int32).clip(0, index.shape[1] - 1)
    row = np.rint(y).astype(np.int32).clip(0, index.shape[0] - 1)
    return np.asarray(index[row, column])


def _reflect(position: Singles, length: int) -> Singles:
    """Reflect a coordinate outside 0..length - 1 back inside once, as BORDER_REFLECT_101 does."""
    last = np.float32(length - 1)
    return np.clip(last - np.abs(last - np.abs(position)), 0, last)
