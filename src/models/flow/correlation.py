"""A light flow estimator: features of each frame are made once, and motion is found by comparing them, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from src.models.flow.base import FlowEstimator, check_pair
from src.models.flow.correlation_decoder import CorrelationDecoder, Motion
from src.models.flow.correlation_detail import FlowDetail
from src.models.flow.correlation_encoder import ImageEncoder
from src.models.flow.correlation_segments import SegmentResidual
from src.models.flow.disocclusion_head import DisocclusionHead
from src.ops.padding import padded_size
from src.ops.precision import full_precision
from src.ops.warp import resize_flow
from src.structures import FlowPrediction

_COARSE = 1
"""Level whose motion the queries read: 1/16 of the image, the first that has looked twice."""


class CorrelationFlow(FlowEstimator):
    """Shared encoder, warped local correlation from 1/32 to 1/4 (PWC-Net, arXiv 1709.02371), and a residual per segment.

    The key frame's features serve all frames that follow it (:meth:`encode_key`). A non-key frame costs one pass of the
    encoder and the decoder. Masks are carried on the grid of 1/4; who wants the motion of every pixel asks :meth:`with_detail`.
    The default widths are those of ``correlation_small``, which has a ``detail_dim`` of 16 as well.

    Args:
        query_dim: width of the segmentor's queries.
        disocclusion_classes: K of the branch that names what became visible; ``None`` for none.
        encoder_channels: of the five stages, at 1/2 to 1/32.
        encoder_depths: further convolutions of each stage.
        context_channels: projected features of the non-key frame at each level of the decoder, 1/32 to 1/4.
        radii: of the correlation windows at each level, in pixels of its grid.
        decoder_channels: of the convolutions at each level.
        segment_dim: width of the queries in the segment head.
        segment_rank: numbers that each of its products sums.
        disocclusion_dim: width of the fill branch.
        detail_dim: width of the step from 1/4 to every pixel; ``None``: the flow is enlarged bilinearly.
        input_mean: of R, G, B in 0..1.
        size_divisor: the padded image is a multiple of this; the segmentor's.

    Raises:
        ValueError: if a list has not one entry for each stage or level.
    """

    method_names: ClassVar[tuple[str, ...]] = ("pixel", "correlation")

    def __init__(
        self,
        query_dim: int = 256,
        disocclusion_classes: int | None = None,
        encoder_channels: Sequence[int] = (24, 40, 80, 112, 128),
        encoder_depths: Sequence[int] = (0, 1, 2, 1, 1),
        context_channels: Sequence[int] = (48, 48, 32, 24),
        radii: Sequence[int] = (3, 3, 3, 2),
        decoder_channels: Sequence[Sequence[int]] = ((96, 64, 48), (96, 64, 48), (80, 64, 48), (40, 32)),
        segment_dim: int = 64,
        segment_rank: int = 16,
        disocclusion_dim: int = 48,
        detail_dim: int | None = None,
        input_mean: Sequence[float] = (0.411, 0.432, 0.450),
        size_divisor: int = 32,
    ) -> None:
        super().__init__()
        self._config = {
            "query_dim": query_dim,
            "disocclusion_classes": disocclusion_classes,
            "encoder_channels": list(encoder_channels),
            "encoder_depths": list(encoder_depths),
            "context_channels": list(context_channels),
            "radii": list(radii),
            "decoder_channels": [list(widths) for widths in decoder_channels],
            "segment_dim": segment_dim,
            "segment_rank": segment_rank,
            "disocclusion_dim": disocclusion_dim,
            "detail_dim": detail_dim,
            "input_mean": list(input_mean),
            "size_divisor": size_divisor,
        }
        self.size_divisor = size_divisor
        self.query_dim = query_dim
        self.encoder = ImageEncoder(encoder_channels, encoder_depths, input_mean, size_divisor)
        *levels, finest = reversed(encoder_channels)
        self.decoder = CorrelationDecoder(levels, context_channels, radii, decoder_channels)
        fine = decoder_channels[-1][-1]
        self.visibility = nn.Conv2d(fine, 1, 3, padding=1)
        self.segments = SegmentResidual(query_dim, decoder_channels[_COARSE][-1], fine, segment_dim, rank=segment_rank)
        self.fill = (
            None if disocclusion_classes is None else DisocclusionHead(levels[:-1], disocclusion_dim, disocclusion_classes)
        )
        self.detail = None if detail_dim is None else FlowDetail(finest, fine, detail_dim)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        return dict(self._config)

    def for_method(self, name: str) -> FlowEstimator:
        """Return the estimator itself, or for ``pixel`` its flow without segments; see :meth:`FlowEstimator.for_method`."""
        return CorrelationPixelBranch(self) if name == "pixel" else super().for_method(name)

    def branches(self) -> dict[str, nn.Module]:
        """What only the losses of confidence, fill branch, segments and the flow of every pixel reach."""
        parts = {"visibility": self.visibility, "segments": self.segments, "fill": self.fill, "detail": self.detail}
        return {name: part for name, part in parts.items() if part is not None}

    def encode_key(self, key_image: Tensor) -> tuple[Tensor, ...]:
        """Features of the key frame at 1/32, 1/16, 1/8, 1/4, and 1/2 for :meth:`with_detail`, for every later frame."""
        features: tuple[Tensor, ...] = self.encoder(key_image)
        return features[: 4 if self.detail is None else 5]

    def forward(
        self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """segment_flow (B, Q, 2, Hp / 4, Wp / 4), four pixel flows, confidence (B, 1, Hp / 4, Wp / 4), fill at 1/8.

        Raises:
            ValueError: if the images are not two equal (B, 3, H, W) or the queries not (B, Q, query_dim).
        """
        if queries.dim() != 3 or queries.shape[0] != key_image.shape[0] or queries.shape[2] != self.query_dim:
            raise ValueError(
                f"queries are {tuple(queries.shape)}; this flow estimator expects (B, Q, C) = ({key_image.shape[0]}, Q, "
                f"{self.query_dim})"
            )
        prediction, motions = self.image_flow(key_image, nonkey_image, key_features)
        own = self.segments(queries, motions[_COARSE], motions[-1])
        return replace(prediction, segment_flow=prediction.segment_flow + own)

    def image_flow(
        self, key_image: Tensor, nonkey_image: Tensor, key_features: tuple[Tensor, ...] | None = None
    ) -> tuple[FlowPrediction, list[Motion]]:
        """The flow of the image as a whole, which knows nothing of segments, and the motion at every level.

        Args:
            key_image: (B, 3, H, W), RGB 0..255, unpadded.
            nonkey_image: (B, 3, H, W), the same.
            key_features: of :meth:`encode_key`; made here where they are not given.

        Raises:
            ValueError: if the images are not two equal (B, 3, H, W).
        """
        check_pair(key_image, nonkey_image)
        key = self.encode_key(key_image) if key_features is None else key_features
        *nonkey, finest = self.encoder(nonkey_image)
        motions = self.decoder(key[:4], nonkey)
        fine = motions[-1]
        size = padded_size((key_image.shape[-2], key_image.shape[-1]), self.size_divisor)
        visible = self.visibility(fine.hidden)
        with full_precision(visible):
            # What comes from outside the key frame needs no learning.
            confidence = visible.float().sigmoid() * _inside(fine.flow, key_image.shape[-2] / 4, key_image.shape[-1] / 4)
        fill = None if self.fill is None else self.fill(nonkey[:-1])
        flows = tuple(motion.flow for motion in motions)
        sources = () if self.detail is None else (key[4], finest, fine.hidden)
        return FlowPrediction(fine.flow[:, None], flows, size, confidence, fill, sources), motions

    def with_detail(self, flow: FlowPrediction) -> FlowPrediction:
        """See :meth:`FlowEstimator.with_detail`."""
        if self.detail is None:
            return flow
        key, nonkey, hidden = flow.sources
        fine = flow.pixel_flows[-1]
        every_pixel = self.detail(key, nonkey, Motion(fine, hidden))
        return replace(flow, detail=every_pixel - resize_flow(fine, flow.padded_size))


class CorrelationPixelBranch(FlowEstimator):
    """The flow of the image as a whole of a :class:`CorrelationFlow`: shows what its segments add, with the same weights.

    Args:
        correlation: shared, not copied.
    """

    method_names: ClassVar[tuple[str, ...]] = ("pixel", "correlation_pixel")

    def __init__(self, correlation: CorrelationFlow) -> None:
        super().__init__()
        self.correlation = correlation

    def config(self) -> dict[str, Any]:
        """The configuration of the estimator it looks into, as ``correlation``."""
        return {"correlation": self.correlation.config()}

    def encode_key(self, key_image: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`CorrelationFlow.encode_key`."""
        return self.correlation.encode_key(key_image)

    def forward(
        self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """segment_flow (B, 1, 2, Hp / 4, Wp / 4) is the finest pixel flow; the queries are not looked at."""
        return self.correlation.image_flow(key_image, nonkey_image, key_features)[0]

    def with_detail(self, flow: FlowPrediction) -> FlowPrediction:
        """See :meth:`CorrelationFlow.with_detail`."""
        return self.correlation.with_detail(flow)


def _inside(flow: Tensor, height: float, width: float) -> Tensor:
    """(B, 1, h, w) 0 or 1: whether the flow points into the unpadded image of ``height`` x ``width`` grid pixels."""
    rows, columns = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(columns, device=flow.device)
    y = flow[:, 1] + torch.arange(rows, device=flow.device)[:, None]
    # Half a pixel of tolerance: the centres of the outermost pixels lie that far inside.
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    return inside[:, None].to(flow.dtype)
