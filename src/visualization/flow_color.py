"""Color coding of optical flow: hue for direction, saturation for length (Baker et al., IJCV 2011)."""

import torch
from torch import Tensor
from torchvision.utils import flow_to_image

from src.visualization.palette import Color

UNKNOWN_COLOR: Color = (128, 128, 128)
"""Color of pixels whose flow is NaN. It differs from all flow colors, which have one channel at full brightness."""


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
