"""Light flow estimator: features of each frame are computed once, and motion is found by comparing them, coarse to fine."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.flow.base import FlowEstimator, Images, QueryEmbeddings, check_pair
from src.models.flow.correlation_decoder import CorrelationDecoder, Motion
from src.models.flow.correlation_detail import FlowDetail
from src.models.flow.correlation_encoder import ImageEncoder, conv
from src.ops.device import full_precision
from src.ops.warp import resize_flow
from src.structures import FlowPrediction


class CorrelationFlow(FlowEstimator):
    """Shared encoder and warped local correlation from 1/32 to 1/4 (PWC-Net, arXiv 1709.02371): one flow for all segments.

    The key frame's features serve all frames that follow it (:meth:`encode_key`), so a non-key frame costs one pass of encoder
    and decoder. The flow has the grid of the masks, 1/4 of the image; :meth:`with_detail` adds the motion of every pixel. The
    default widths are those of ``correlation_small``, which also sets a ``detail_dim`` of 16.

    Args:
        disocclusion_classes: K of the disocclusion head; ``None``: no head.
        encoder_channels: channels of the five stages, at 1/2 to 1/32.
        encoder_depths: further convolutions of each stage.
        context_channels: projected features of the non-key frame at each level of the decoder, 1/32 to 1/4.
        radii: radius of the correlation window at each level, in pixels of its grid.
        decoder_channels: channels of the convolutions at each level.
        disocclusion_dim: width of the disocclusion head.
        detail_dim: width of the step from 1/4 to every pixel; ``None``: the flow is enlarged bilinearly.
        input_mean: mean of R, G, B in 0..1.
        size_divisor: the padded image is a multiple of this; the segmentor's.
        fusion_dim: width of the fusion head; ``None``: no head.

    Raises:
        ValueError: if a list does not have one entry for each stage or level.
    """

    method_names: ClassVar[tuple[str, ...]] = ("correlation",)
    has_confidence: ClassVar[bool] = True

    def __init__(
        self,
        disocclusion_classes: int | None = None,
        encoder_channels: Sequence[int] = (24, 40, 80, 112, 128),
        encoder_depths: Sequence[int] = (0, 1, 2, 1, 1),
        context_channels: Sequence[int] = (48, 48, 32, 24),
        radii: Sequence[int] = (3, 3, 3, 2),
        decoder_channels: Sequence[Sequence[int]] = ((96, 64, 48), (96, 64, 48), (80, 64, 48), (40, 32)),
        disocclusion_dim: int = 48,
        detail_dim: int | None = None,
        input_mean: Sequence[float] = (0.411, 0.432, 0.450),
        size_divisor: int = 32,
        fusion_dim: int | None = None,
    ) -> None:
        super().__init__(locals())
        self.size_divisor = size_divisor
        self.encoder = ImageEncoder(encoder_channels, encoder_depths, input_mean, size_divisor)
        *levels, half = reversed(encoder_channels)
        self.decoder = CorrelationDecoder(levels, context_channels, radii, decoder_channels)
        finest = decoder_channels[-1][-1]
        self.visibility = nn.Conv2d(finest, 1, 3, padding=1)
        self.disocclusion = (
            None if disocclusion_classes is None else DisocclusionHead(levels[:-1], disocclusion_dim, disocclusion_classes)
        )
        self.detail = None if detail_dim is None else FlowDetail(half, finest, detail_dim)
        self.add_fusion_head(fusion_dim)

    def encode_key(self, key_image: Images) -> tuple[Tensor, ...]:
        """Encode the key frame for every later frame: at 1/32, 1/16, 1/8, 1/4, and 1/2 for :meth:`with_detail`."""
        features: tuple[Tensor, ...] = self.encoder(key_image)
        return features[: 4 if self.detail is None else 5]

    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Return segment_flow (B, 1, 2, Hp / 4, Wp / 4), the finest of four pixel flows, confidence at 1/4 and logits at 1/8."""
        padded = check_pair(key_image, nonkey_image, self.size_divisor)
        key = self.encode_key(key_image) if key_features is None else key_features
        *nonkey, half = self.encoder(nonkey_image)
        motions = self.decoder(key[:4], nonkey)
        flow, hidden = motions[-1]
        visible = self.visibility(hidden)
        with full_precision(visible):
            # Geometry needs no learning: a source outside the key frame is never visible.
            confidence = visible.float().sigmoid() * _inside(flow, key_image.shape[-2] / 4, key_image.shape[-1] / 4)
        classes = None if self.disocclusion is None else self.disocclusion(nonkey[:-1])
        sources = () if self.detail is None else (key[4], half, hidden)
        return FlowPrediction(flow[:, None], tuple(motion.flow for motion in motions), padded, confidence, classes, sources)

    def with_detail(self, flow: FlowPrediction) -> FlowPrediction:
        """Add the flow of every pixel, if the network has that part."""
        if self.detail is None:
            return flow
        key, nonkey, hidden = flow.sources
        finest = flow.pixel_flows[-1]
        every_pixel = self.detail(key, nonkey, Motion(finest, hidden))
        return replace(flow, detail=every_pixel - resize_flow(finest, flow.padded_size))


class DisocclusionHead(nn.Module):
    """Class logits at 1/8 of the image from features at 1/8, 1/16 and 1/32.

    Args:
        channels: channels of the features, coarse to fine.
        width: channels of the projected features.
        num_classes: K.
    """

    def __init__(self, channels: Sequence[int], width: int, num_classes: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(inside, width, 1) for inside in channels)
        self.mix = nn.Sequential(conv(width, width), nn.Conv2d(width, num_classes, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Classify (B, C_i, h_i, w_i), coarse to fine by factors of two: logits (B, K, h, w) on the finest grid."""
        total: Tensor | None = None
        for projection, level in zip(self.projections, features, strict=True):
            projected = projection(level)
            if total is not None:
                projected = projected + F.interpolate(total, size=projected.shape[-2:], mode="bilinear", align_corners=False)
            total = projected
        result: Tensor = self.mix(total)
        return result


def _inside(flow: Tensor, height: float, width: float) -> Tensor:
    """Return (B, 1, h, w): 1 where the flow points into the unpadded image of ``height`` x ``width`` grid pixels, else 0."""
    rows, columns = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(columns, device=flow.device)
    y = flow[:, 1] + torch.arange(rows, device=flow.device)[:, None]
    # Half a pixel of tolerance: the centres of the outermost pixels lie that far inside.
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    return inside[:, None].to(flow.dtype)
