"""OpenCV's DIS optical flow: one flow for all segments, without any training."""

from typing import Any, ClassVar, Literal, get_args

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.models.flow.base import FlowEstimator, Images, QueryEmbeddings, check_pair
from src.ops.warp import resize_flow
from src.structures import FlowPrediction, Size

Preset = Literal["ultrafast", "fast", "medium", "fine"]
# OpenCV returns no flow for smaller images: its coarsest patches do not fit.
_SMALLEST_SIDE = 16


class DISFlow(FlowEstimator):
    """Dense inverse search (Kroeger et al. 2016) from the non-key to the key frame, on grey images, always on the CPU.

    Args:
        preset: OpenCV's preset; slower is more accurate. ``fine`` is ``medium`` continued to the full resolution of the images,
            without the variational refinement, which blurs the borders of motion: about twice the time.
        short_side: images with a longer short side are reduced to this, pixels; ``None``: the images' own size.
        stride: image pixels per vector of the result; 4 is the masks' grid.
        size_divisor: the padded image is a multiple of this; the flow at the edge is repeated into the padding.
        fusion_dim: width of the fusion head; ``None``: no head.

    Raises:
        ValueError: if ``size_divisor`` is not a multiple of ``stride``, or ``short_side`` is below 16.
    """

    method_names: ClassVar[tuple[str, ...]] = ("dis", "dis_fine")
    training_free: ClassVar[bool] = True

    def __init__(
        self,
        preset: Preset = "medium",
        short_side: int | None = None,
        stride: int = 4,
        size_divisor: int = 32,
        fusion_dim: int | None = None,
    ) -> None:
        super().__init__(locals())
        if preset not in get_args(Preset):
            raise ValueError(f"DIS preset is {preset!r}; expected one of {', '.join(get_args(Preset))}")
        if size_divisor % stride:
            raise ValueError(f"size_divisor is {size_divisor}; expected a multiple of the flow's stride {stride}")
        if short_side is not None and short_side < _SMALLEST_SIDE:
            raise ValueError(f"short_side is {short_side}; expected at least {_SMALLEST_SIDE} pixels for DIS")
        self.preset: Preset = preset
        self.short_side = short_side
        self.stride = stride
        self.size_divisor = size_divisor
        self.add_fusion_head(fusion_dim)

    def for_method(self, name: str) -> FlowEstimator:
        """Return the estimator itself, or for ``dis_fine`` one of that preset."""
        own = super().for_method(name)
        return DISFlow("fine", self.short_side, self.stride, self.size_divisor) if name == "dis_fine" else own

    @torch.no_grad()
    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Return segment_flow (B, 1, 2, Hp / stride, Wp / stride) and its detail, float32, on the images' device.

        Raises:
            ValueError: if the images are too small, or have no data (meta device).
        """
        size = check_pair(key_image, nonkey_image, self.size_divisor)
        if key_image.is_meta:
            raise ValueError("images are on the meta device; expected pixel values, which DIS reads")
        height, width = key_image.shape[-2:]
        flow = torch.stack([image_flow(k, n, self.short_side, self.preset) for k, n in zip(key_image, nonkey_image, strict=True)])
        dense = F.pad(flow, (0, size[1] - width, 0, size[0] - height), mode="replicate")
        flow = resize_flow(dense, (size[0] // self.stride, size[1] // self.stride))
        detail = dense - resize_flow(flow, size)
        return FlowPrediction(flow[:, None].to(key_image.device), (), size, detail=detail.to(key_image.device))


def image_flow(source: Tensor, at: Tensor, short_side: int | None = None, preset: Preset = "medium") -> Tensor:
    """Estimate the flow (2, H, W) float32 of two images, stored at the pixels of ``at`` and pointing into ``source``, pixels.

    Images are (3, H, W) RGB 0..255; for ``short_side`` and ``preset`` see :class:`DISFlow`.

    Raises:
        ValueError: if the images are too small.
    """
    height, width = at.shape[-2:]
    if min(height, width) < _SMALLEST_SIDE:
        raise ValueError(f"images are {height}x{width}; expected at least {_SMALLEST_SIDE} pixels on each side for DIS")
    scale = 1.0 if short_side is None else min(1.0, short_side / min(height, width))
    reduced = round(height * scale), round(width * scale)
    return resize_flow(_dis(grey(at, reduced), grey(source, reduced), preset), (height, width))


def grey(image: Tensor, size: Size) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Convert RGB (3, H, W) in 0..255 to a grey image of (h, w), averaged over areas when it is reduced."""
    rgb = image.permute(1, 2, 0).float().round().clamp(0, 255).byte().contiguous().cpu().numpy()
    result = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if result.shape != tuple(size):
        result = cv2.resize(result, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(result, dtype=np.uint8)


def _dis(source: np.ndarray[Any, Any], target: np.ndarray[Any, Any], preset: Preset) -> Tensor:
    """Estimate the flow (2, h, w) at the pixels of ``source``, pointing into ``target``."""
    # A new object per call: a reused one starts from its last flow, and none can be pickled into a worker.
    dis = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{'MEDIUM' if preset == 'fine' else preset.upper()}"))
    if preset == "fine":
        dis.setFinestScale(0)
        dis.setVariationalRefinementIterations(0)
    flow = dis.calc(source, target, None)  # type: ignore[call-overload]
    return torch.from_numpy(np.ascontiguousarray(flow)).permute(2, 0, 1)
