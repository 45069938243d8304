"""Backward warping of images, masks and labels, and resizing of flow maps."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from src.ops.cache import cached_constant, device_constant
from src.ops.channels_last import upsample_2x
from src.ops.device import full_precision
from src.structures import IGNORE_INDEX, FlowPrediction, Size

WarpGrid = Literal["exact", "reference"]
_BLOCK = 16  # masks per step in inference on a CPU


def warp(source: Float[Tensor, "B C H W"], flow: Float[Tensor, "B 2 H W"], grid: WarpGrid = "exact") -> Float[Tensor, "B C H W"]:
    """Sample ``source`` where ``flow`` points: ``out[p] = source[p + flow[p]]``, bilinear, in at least float32.

    Convention:
        flow channel 0 = dx (right), channel 1 = dy (down), in pixels of its own grid. Positions outside are clamped to the
        border. ``grid="exact"``: zero flow is the identity and integer flow a shifted copy, bit for bit.
        ``grid="reference"``: the grid of the published MPVSS code, positions divided by W and H and read with
        align_corners=True, so that zero flow shrinks the image slightly; for converted weights only.

    Args:
        source: image, features or mask logits.
        flow: backward flow, pixels.
        grid: sampling grid.

    Returns:
        Warped source, float32, or float64 if an input is.

    Raises:
        ValueError: if the shapes do not fit or the grid is unknown.
    """
    if flow.shape != (source.shape[0], 2, *source.shape[-2:]):
        raise ValueError(f"flow {tuple(flow.shape)} does not fit source {tuple(source.shape)}; expected (B, 2, H, W)")
    # Half precision cannot represent positions beyond 256 pixels (bf16) with sub-pixel accuracy.
    with full_precision(source):
        dtype = _precision(source, flow)
        source, flow = source.to(dtype), flow.to(dtype)
        size = (source.shape[-2], source.shape[-1])
        units, shift = _units(size, grid)
        base = _identity_positions(size, units, shift, dtype, flow.device)
        scale = device_constant(tuple(2 / unit for unit in units), dtype, flow.device)[:, None, None]
        positions = torch.addcmul(base, flow, scale)
        if grid == "reference":
            return F.grid_sample(
                source, positions.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=True
            )
        # Positions of the first and last pixel, as numbers: clamping by tensors is several times slower.
        limits = [(shift / unit - 1, (2 * (n - 1) + shift) / unit - 1) for n, unit in zip(size[::-1], units, strict=True)]
        if positions.requires_grad:
            positions = torch.stack([one.clamp(*ends) for one, ends in zip(positions.unbind(1), limits, strict=True)], dim=1)
        else:
            for one, ends in zip(positions.unbind(1), limits, strict=True):
                one.clamp_(*ends)
        padded = _padded(source, units[::-1])
        return F.grid_sample(padded, positions.permute(0, 2, 3, 1), mode="bilinear", padding_mode="zeros", align_corners=False)


def _precision(source: Tensor, flow: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(source.dtype, flow.dtype), torch.float32)


def _padded(source: Tensor, size: Size) -> Tensor:
    """Pad the source to ``size``; of the padding, at least the first row and column are zeros."""
    height, width = source.shape[-2:]
    if not torch.is_inference_mode_enabled() or source.device.type != "cpu":
        return F.pad(source, (0, size[1] - width, 0, size[0] - height))
    # Only the first pixel behind an edge is ever read, with a weight of zero; the others stay uninitialized.
    padded = source.new_empty(*source.shape[:2], *size)
    padded[..., :height, :width] = source
    padded[..., :height, width : width + 1] = 0
    padded[..., height : height + 1, : width + 1] = 0
    return padded


def _units(size: Size, grid: WarpGrid) -> tuple[Size, int]:
    """Return the (width, height) that positions are fractions of, and the first pixel's distance from zero in half pixels."""
    height, width = size
    if grid == "reference":
        return (width, height), 0
    if grid == "exact":
        # grid_sample takes positions as fractions of the width. Fractions of a power of two are exact in floating point,
        # so the source is padded to one; the clamp keeps the padding from ever being read with a weight above zero.
        return (_next_power_of_two(width), _next_power_of_two(height)), 1
    raise ValueError(f"warp grid is {grid!r}; expected 'exact' or 'reference'")


@cached_constant(entries=8)
def _identity_positions(size: Size, units: Size, shift: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the positions of zero flow, (2, H, W), in units of grid_sample; for the arguments see :func:`_units`."""
    height, width = size
    x, y = (
        (2 * torch.arange(n, device=device, dtype=dtype) + shift) / unit - 1
        for n, unit in zip((width, height), units, strict=True)
    )
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))


def warp_segments(
    mask_logits: Float[Tensor, "L B Q h w"], segment_flow: Float[Tensor, "B F 2 _ _"], grid: WarpGrid = "exact"
) -> Float[Tensor, "L B Q h w"]:
    """Warp every segment's mask by its own flow (paper section 3.2), or all by the same if the flow has F = 1.

    Args:
        mask_logits: masks of L decoder layers.
        segment_flow: F = Q or 1 flows, in pixels of their own grid, which is resized to that of the masks; shared by all layers.
        grid: see :func:`warp`.
    """
    layers, batch, queries, height, width = mask_logits.shape
    flows = segment_flow.shape[1]
    if segment_flow.shape[:3] != (batch, flows, 2) or segment_flow.ndim != 5 or flows not in (1, queries):
        raise ValueError(
            f"segment_flow {tuple(segment_flow.shape)} does not fit mask_logits {tuple(mask_logits.shape)}; "
            "expected (B, Q or 1, 2, h, w) for (L, B, Q, h, w)"
        )
    # Masks that share a flow become channels of one image, so that positions are computed once.
    masks = mask_logits.permute(1, 2, 0, 3, 4).reshape(batch * flows, queries // flows * layers, height, width)
    flow = segment_flow.flatten(0, 1)
    # Blocks stay in a CPU's cache; accelerators are faster with all masks at once, and a compiler needs the whole step.
    in_blocks = masks.device.type == "cpu" and torch.is_inference_mode_enabled() and not torch.compiler.is_compiling()
    if not in_blocks:
        warped = warp(masks, resize_flow(flow, (height, width)), grid)
    else:
        warped = torch.empty_like(masks, dtype=_precision(masks, flow))
        for block, block_flow, out in zip(*(torch.split(x, _BLOCK) for x in (masks, flow, warped)), strict=True):
            out.copy_(warp(block, resize_flow(block_flow, (height, width)), grid))
    return warped.reshape(batch, queries, layers, height, width).permute(2, 0, 1, 3, 4)


def warp_label(label: Int64[Tensor, "B H W"], flow: Float[Tensor, "B 2 H W"], num_classes: int) -> Int64[Tensor, "B H W"]:
    """Warp the key frame's label to the non-key frame by a bilinear vote of four labels.

    Convention:
        that of :func:`warp`: the four neighbors vote with their bilinear weights, positions outside are clamped to
        the border. Void votes like a class; where it wins, the result is void. Of equal votes the lowest class wins, void last.
        Zero flow returns the label.

    Args:
        label: 0..K-1 or ``IGNORE_INDEX``.
        flow: backward flow, pixels.
        num_classes: K.
    """
    if label.dim() != 3 or flow.shape != (label.shape[0], 2, *label.shape[1:]):
        raise ValueError(f"flow {tuple(flow.shape)} does not fit label {tuple(label.shape)}; expected (B, 2, H, W) and (B, H, W)")
    votes = F.one_hot(label.masked_fill(label == IGNORE_INDEX, num_classes), num_classes + 1)
    winner = warp(votes.movedim(-1, 1).to(torch.float32), flow).max(1).indices
    return winner.masked_fill(winner == num_classes, IGNORE_INDEX)


def resize_flow(flow: Float[Tensor, "*batch 2 h w"], size: Size) -> Float[Tensor, "*batch 2 {size[0]} {size[1]}"]:
    """Resize a flow map and scale its vectors, which stay in pixels of their own grid.

    Convention:
        bilinear, align_corners=False: both grids cover the same image.

    Args:
        flow: vectors in pixels of its grid.
        size: (H, W) of the new grid.
    """
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    scale = device_constant((size[1] / width, size[0] / height), flow.dtype, flow.device).view(2, 1, 1)
    # Scale on the grid with fewer vectors.
    grows = size[0] * size[1] > height * width
    vectors = (flow * scale if grows else flow).reshape(-1, 2, height, width)
    if torch.is_inference_mode_enabled() and flow.device.type == "cpu" and tuple(size) == (2 * height, 2 * width):
        resized: Tensor = upsample_2x(vectors.reshape(-1, height, width, 1)).view(-1, 2, *size)
    else:
        resized = F.interpolate(vectors, size=tuple(size), mode="bilinear", align_corners=False)
    return (resized if grows else resized * scale).reshape(*flow.shape[:-2], *size)


def upsample_flow(vectors: Float[Tensor, "B 2 h w"], flow: FlowPrediction) -> Float32[Tensor, "B 2 H W"]:
    """Upsample one of the prediction's finest flows bilinearly to the padded image, in its pixels, and add the detail."""
    upsampled = resize_flow(vectors.float(), flow.padded_size)
    return upsampled if flow.detail is None else upsampled + flow.detail


def full_size_flow(flow: FlowPrediction, image_size: Size) -> Float32[Tensor, "B 2 {image_size[0]} {image_size[1]}"]:
    """Upsample the finest of at least one pixel flow to the unpadded image, in its pixels."""
    height, width = image_size
    return upsample_flow(flow.pixel_flows[-1], flow)[..., :height, :width]


def disoccluded(flow: FlowPrediction, image_size: Size) -> Float32[Tensor, "B {image_size[0]} {image_size[1]}"] | None:
    """Estimate the probability that a pixel of the non-key frame is disoccluded, that is, not visible in the key frame.

    Where each query has its own confidence, the largest counts; ``None`` without confidence. The mean over the unpadded image is
    the share of it that propagation has to guess.
    """
    if flow.confidence is None:
        return None
    height, width = image_size
    probability = 1 - flow.confidence.float().amax(1, keepdim=True)
    return F.interpolate(probability, size=flow.padded_size, mode="bilinear", align_corners=False)[:, 0, :height, :width]


def _next_power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
