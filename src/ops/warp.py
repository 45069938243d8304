"""Backward warping and everything that changes the grid of a flow map."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from src.ops.cache import cached_constant
from src.ops.channels_last import upsample_2x
from src.ops.precision import full_precision
from src.structures import FlowPrediction, Size

WarpGrid = Literal["exact", "reference"]
_BLOCK = 16  # masks that are warped at a time in inference on a CPU


def warp(source: Float[Tensor, "B C H W"], flow: Float[Tensor, "B 2 H W"], grid: WarpGrid = "exact") -> Float[Tensor, "B C H W"]:
    """Read ``source`` where ``flow`` points: ``out[p] = source[p + flow[p]]``, bilinear, in at least float32.

    Convention:
        flow channel 0 = dx (right), channel 1 = dy (down), in pixels of its own grid. Positions outside are clamped to the
        border. ``grid="exact"``: zero flow is the identity and integer flow a shifted copy, bit for bit.
        ``grid="reference"``: the grid of the published MPVSS code, positions divided by W and H and read with
        align_corners=True, so that zero flow shrinks the image slightly; for converted weights only.

    Args:
        source: (B, C, H, W).
        flow: (B, 2, H, W).
        grid: which sampling grid.

    Returns:
        (B, C, H, W), float32 (float64 where the input is).

    Raises:
        ValueError: if the shapes do not belong together.
    """
    if flow.shape != (source.shape[0], 2, *source.shape[-2:]):
        raise ValueError(f"flow {tuple(flow.shape)} does not fit source {tuple(source.shape)}: expected (B, 2, H, W)")
    # Half precision cannot name a pixel beyond 256 (bf16) with sub-pixel accuracy.
    with full_precision(source):
        dtype = _precision(source, flow)
        source, flow = source.to(dtype), flow.to(dtype)
        size = (source.shape[-2], source.shape[-1])
        wholes, shift = _units(size, grid)
        base = _still_positions(size, wholes, shift, dtype, flow.device)
        # What a pixel of flow adds.
        scale = flow.new_tensor([2 / whole for whole in wholes])[:, None, None]
        positions = torch.addcmul(base, flow, scale)
        if grid == "reference":
            return F.grid_sample(
                source, positions.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=True
            )
        # The first and last pixel. Numbers, not tensors: clamping is several times as fast with them.
        limits = [(shift / whole - 1, (2 * (n - 1) + shift) / whole - 1) for n, whole in zip(size[::-1], wholes, strict=True)]
        if positions.requires_grad:
            positions = torch.stack([one.clamp(*ends) for one, ends in zip(positions.unbind(1), limits, strict=True)], dim=1)
        else:
            for one, ends in zip(positions.unbind(1), limits, strict=True):
                one.clamp_(*ends)
        padded = _padded(source, wholes[::-1])
        return F.grid_sample(padded, positions.permute(0, 2, 3, 1), mode="bilinear", padding_mode="zeros", align_corners=False)


def _precision(source: Tensor, flow: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(source.dtype, flow.dtype), torch.float32)


def _padded(source: Tensor, size: Size) -> Tensor:
    """The source with at least one row and one column of zeros behind it, if the size is larger."""
    height, width = source.shape[-2:]
    if not torch.is_inference_mode_enabled() or source.device.type != "cpu":
        return F.pad(source, (0, size[1] - width, 0, size[0] - height))
    # Only the first pixel behind an edge is ever read, with a weight of zero; what lies further takes no time.
    padded = source.new_empty(*source.shape[:2], *size)
    padded[..., :height, :width] = source
    padded[..., :height, width : width + 1] = 0
    padded[..., height : height + 1, : width + 1] = 0
    return padded


def _units(size: Size, grid: WarpGrid) -> tuple[Size, int]:
    """Width and height that positions are fractions of, and how many half pixels the first one is away from zero.

    Raises:
        ValueError: if there is no such grid.
    """
    height, width = size
    if grid == "reference":
        return (width, height), 0
    if grid == "exact":
        # grid_sample takes positions as fractions of the width. Fractions of a power of two are exact in floating point,
        # so the source is padded to one; the clamp keeps the padding from ever being read with a weight above zero.
        return (_next_power_of_two(width), _next_power_of_two(height)), 1
    raise ValueError(f"unknown warp grid {grid!r}; expected 'exact' or 'reference'")


@cached_constant(entries=8)
def _still_positions(size: Size, wholes: Size, shift: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Where a flow of zero reads, (2, H, W), in units of grid_sample; the arguments are those of :func:`_units`."""
    height, width = size
    x, y = (
        (2 * torch.arange(n, device=device, dtype=dtype) + shift) / whole - 1
        for n, whole in zip((width, height), wholes, strict=True)
    )
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))


def warp_segments(
    mask_logits: Float[Tensor, "L B Q h w"], segment_flow: Float[Tensor, "B F 2 _ _"], grid: WarpGrid = "exact"
) -> Float[Tensor, "L B Q h w"]:
    """Warp every segment's mask by its own flow (paper section 3.2), or all by one where the flow has Q = 1.

    Args:
        mask_logits: (L, B, Q, h, w), masks of L decoder layers.
        segment_flow: (B, Q or 1, 2, any height, any width), pixels of its own grid, which is resized to that of the masks; the
            same for all layers.
        grid: see :func:`warp`.

    Returns:
        (L, B, Q, h, w).

    Raises:
        ValueError: if the shapes do not belong together.
    """
    layers, batch, queries, height, width = mask_logits.shape
    flows = segment_flow.shape[1]
    if segment_flow.shape[:3] != (batch, flows, 2) or segment_flow.ndim != 5 or flows not in (1, queries):
        raise ValueError(f"segment_flow {tuple(segment_flow.shape)} does not fit mask_logits {tuple(mask_logits.shape)}")
    # Masks that share a flow become channels of one image: the positions are computed once for all of them.
    masks = mask_logits.permute(1, 2, 0, 3, 4).reshape(batch * flows, queries // flows * layers, height, width)
    flow = segment_flow.flatten(0, 1)
    # A few at a time stay in a CPU's cache; accelerators want them all at once, and a compiler the whole step.
    few = masks.device.type == "cpu" and torch.is_inference_mode_enabled() and not torch.compiler.is_compiling()
    if not few:
        warped = warp(masks, resize_flow(flow, (height, width)), grid)
    else:
        warped = torch.empty_like(masks, dtype=_precision(masks, flow))
        for some, their_flow, out in zip(*(torch.split(x, _BLOCK) for x in (masks, flow, warped)), strict=True):
            out.copy_(warp(some, resize_flow(their_flow, (height, width)), grid))
    return warped.reshape(batch, queries, layers, height, width).permute(2, 0, 1, 3, 4)


def resize_flow(flow: Float[Tensor, "*batch 2 h w"], size: Size) -> Float[Tensor, "*batch 2 {size[0]} {size[1]}"]:
    """Resize a flow map and scale its vectors with it, so that they stay in pixels of their own grid.

    Convention:
        bilinear, align_corners=False: both grids cover the same image.

    Args:
        flow: (..., 2, h, w).
        size: (H, W) of the new grid.

    Returns:
        (..., 2, H, W), same dtype.
    """
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
    # Vectors are scaled where there are fewer of them.
    grows = size[0] * size[1] > height * width
    vectors = (flow * scale if grows else flow).reshape(-1, 2, height, width)
    if torch.is_inference_mode_enabled() and flow.device.type == "cpu" and tuple(size) == (2 * height, 2 * width):
        resized: Tensor = upsample_2x(vectors.reshape(-1, height, width, 1)).view(-1, 2, *size)
    else:
        resized = F.interpolate(vectors, size=tuple(size), mode="bilinear", align_corners=False)
    return (resized if grows else resized * scale).reshape(*flow.shape[:-2], *size)


def upsample_flow(vectors: Float[Tensor, "B 2 h w"], flow: FlowPrediction) -> Float32[Tensor, "B 2 H W"]:
    """A flow of the pair at every pixel of the padded image: enlarged bilinearly, and what that misses added.

    Args:
        vectors: (B, 2, h, w), one of the finest flows of the prediction, pixels of its own grid.
        flow: what it belongs to.

    Returns:
        (B, 2, H, W) float32, pixels of the padded image.
    """
    enlarged = resize_flow(vectors.float(), flow.padded_size)
    return enlarged if flow.detail is None else enlarged + flow.detail


def full_size_flow(flow: FlowPrediction, image_size: Size) -> Float32[Tensor, "B 2 {image_size[0]} {image_size[1]}"]:
    """The finest flow of the image as a whole, on the image's own grid.

    Args:
        flow: with at least one pixel flow.
        image_size: (H, W) of the unpadded image.

    Returns:
        (B, 2, H, W), pixels of the image.
    """
    height, width = image_size
    return upsample_flow(flow.pixel_flows[-1], flow)[..., :height, :width]


def disoccluded(flow: FlowPrediction, image_size: Size) -> Float32[Tensor, "B {image_size[0]} {image_size[1]}"] | None:
    """How likely each pixel of the non-key frame is new: nothing in the key frame shows what it shows.

    Args:
        flow: with a confidence; where each query has its own, the surest counts.
        image_size: (H, W) of the unpadded image.

    Returns:
        (B, H, W) float32 in 0..1; its mean is the share of the image that propagation has to guess. ``None`` where the estimator
        gives no confidence.
    """
    if flow.confidence is None:
        return None
    height, width = image_size
    new = 1 - flow.confidence.float().amax(1, keepdim=True)
    return F.interpolate(new, size=flow.padded_size, mode="bilinear", align_corners=False)[:, 0, :height, :width]


def _next_power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
