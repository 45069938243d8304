"""Color coding of optical flow: hue for direction, saturation for length (Baker et al., IJCV 2011)."""

import torch
from torch import Tensor
from torchvision.utils import flow_to_image

from src.structures import Size
from src.visualization.canvas import Tile, resize, tile_size
from src.visualization.palette import Color

UNKNOWN_COLOR: Color = (128, 128, 128)
"""Color of pixels whose flow is NaN. It differs from all flow colors, which have one channel at full brightness."""
_SCALES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SCALE_SIDE = 20  # longer image side, in units of the default scale
_RING_COLOR: Color = (60, 60, 60)
_WHEEL_SIDE = 5  # shorter image side, in units of the wheel's diameter
_MIN_WHEEL, _MAX_WHEEL = 25, 81  # pixels


def default_scale(size: Size) -> int:
    """Return a round number of pixels, at most a twentieth of the longer image side but at least 1, for full color."""
    return max(scale for scale in _SCALES if scale <= max(1, max(size) // _SCALE_SIDE))


def flow_tile(title: str, flow: Tensor, scale: float) -> Tile:
    """Draw a flow map, (2, H, W) pixels, with the color wheel in the lower right corner; the title names the scale.

    The rim of the wheel, in the direction of a motion, has the color of this motion at the length ``scale``, pixels.
    """
    size = (flow.shape[-2], flow.shape[-1])
    picture = resize(flow_to_color(flow, scale), tile_size(size))
    radius = min(max(min(picture.shape[1:]) // _WHEEL_SIDE, _MIN_WHEEL), _MAX_WHEEL, *picture.shape[1:]) // 2
    across = torch.linspace(-1, 1, 2 * radius + 1)
    down, right = torch.meshgrid(across, across, indexing="ij")
    length, wheel = torch.hypot(right, down), flow_to_color(torch.stack((right, down)), 1.0)
    wheel[:, length > 1 - 1 / max(radius, 1)] = wheel.new_tensor(_RING_COLOR)[:, None]
    corner = picture[:, -2 * radius - 3 : -2, -2 * radius - 3 : -2]
    if corner.shape == wheel.shape:
        corner.copy_(torch.where(length <= 1, wheel, corner))
    return Tile(f"{title}, full color at {scale:g} px", picture)


def largest_motion(*flows: Tensor | None) -> float:
    """Return the length of the longest known vector in flow maps, (..., 2, H, W) each, NaN where unknown; 0 if none is known."""
    lengths = [torch.linalg.vector_norm(flow.float(), dim=-3).nan_to_num(0.0).max().item() for flow in flows if flow is not None]
    return max(lengths, default=0.0)


def flow_to_color(flow: Tensor, max_magnitude: float | None = None) -> Tensor:
    """Color a flow map by the Middlebury color wheel: zero is white, unknown (NaN) grey.

    Args:
        flow: (2, H, W), pixels.
        max_magnitude: length at full saturation, pixels; longer vectors have the same color. Default: the longest vector. Two
            maps with the same value have comparable colors.

    Returns:
        (3, H, W) uint8.
    """
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"flow has shape {tuple(flow.shape)}; expected (2, H, W)")
    if max_magnitude is not None and max_magnitude <= 0:
        raise ValueError(f"max_magnitude is {max_magnitude}; expected a positive number of pixels")
    unknown = flow.isnan().any(0)
    known = flow.float().masked_fill(unknown, 0.0)
    if max_magnitude is not None:
        length = torch.linalg.vector_norm(known, dim=0).clamp_min(max_magnitude)
        known = known * (max_magnitude / length)
        # torchvision scales by the longest vector, so a vector of the maximum length is appended and cropped afterwards.
        scale = known.new_zeros(2, known.shape[1], 1)
        scale[0] = max_magnitude
        known = torch.cat((known, scale), dim=2)
    color: Tensor = flow_to_image(known)[..., : flow.shape[-1]]
    color[:, unknown] = color.new_tensor(UNKNOWN_COLOR)[:, None]
    return color
