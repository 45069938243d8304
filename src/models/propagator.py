"""MPVSS: segment the key frame, and propagate its masks to the non-key frame."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Float32, Num
from torch import Tensor, nn

from src.models.flow.base import FlowBranch, FlowEstimator
from src.models.freezing import PartlyFrozen
from src.models.fusion import FusionRule, check_rule, photometric_error
from src.models.segmentors.base import KeyFrameSegmentor
from src.models.segmentors.dense import DenseSegmentor
from src.ops.occlusion import forward_backward_consistent, inside_image
from src.ops.padding import pad_to
from src.ops.segment_flow import winning_flow
from src.ops.warp import WarpGrid, resize_flow, warp, warp_segments
from src.structures import DisocclusionScores, FlowPrediction, MaskPrediction, PixelRead


class Propagator(PartlyFrozen):
    """MPVSS (arXiv 2310.18954, section 3): a query segmentor on key frames and a flow estimator between frames.

    Args:
        segmentor: predicts masks, classes and queries of an image.
        flow: predicts one flow per query, or one for all, between two images; with the segmentor's size divisor.
        warp_grid: ``exact``, or ``reference`` for weights that were trained with the published code's grid.
        recurrent: whether key frames of a stream start from the memory of the key frame before.

    Raises:
        ValueError: if ``recurrent`` is set for a segmentor without memory, or the segmentor is dense, and the flow reads queries
            or has a disocclusion head.
    """

    def __init__(
        self, segmentor: KeyFrameSegmentor, flow: FlowEstimator, warp_grid: WarpGrid = "exact", recurrent: bool = False
    ) -> None:
        super().__init__()
        if recurrent and not segmentor.is_recurrent:
            raise ValueError(f"the segmentor is a {type(segmentor).__name__}, which has no memory; expected a VideomtSegmentor")
        self.recurrent = recurrent
        if isinstance(segmentor, DenseSegmentor):
            segmentor.check_flow(flow.reads_queries, FlowBranch.DISOCCLUSION in flow.branches())
        self.segmentor = segmentor
        self.flow = flow
        self.warp_grid: WarpGrid = warp_grid

    def parts(self) -> Mapping[str, nn.Module]:
        """Return ``flow``, ``segmentor``, every ``segmentor.<part>``, and ``flow.fusion`` if the flow has a fusion head."""
        nested = {f"segmentor.{name}": part for name, part in self.segmentor.parts().items()}
        head = {} if self.flow.fusion is None else {"flow.fusion": self.flow.fusion}
        return {"flow": self.flow, **head, "segmentor": self.segmentor, **nested}

    def unused_parameters(self) -> Iterable[nn.Parameter]:
        """Return the segmentor's unused parameters."""
        return self.segmentor.unused_parameters()

    def forward(
        self, key_image: Num[Tensor, "B 3 H W"], nonkey_image: Num[Tensor, "B 3 H W"]
    ) -> tuple[MaskPrediction, FlowPrediction]:
        """Segment the key frame (RGB 0..255, as the other) and :meth:`propagate` its masks to the non-key frame."""
        return self.propagate(self.segmentor(key_image), key_image, nonkey_image)

    def propagate(
        self,
        key: MaskPrediction,
        key_image: Num[Tensor, "B 3 H W"],
        nonkey_image: Num[Tensor, "B 3 H W"],
        flow_features: tuple[Tensor, ...] | None = None,
    ) -> tuple[MaskPrediction, FlowPrediction]:
        """Warp every mask of the key frame by its own flow; classes are unchanged. One flow serves all decoder layers.

        Masks of a dense segmentor stay where they are, with pixel reads.

        Args:
            key: the segmentor's prediction for ``key_image``.
            key_image: RGB 0..255, as ``nonkey_image``.
            nonkey_image: frame to segment.
            flow_features: result of ``flow.encode_key(key_image)``; computed if omitted.

        Returns:
            Prediction for the non-key frame, with disocclusion scores if the estimator has a disocclusion head, with pixel reads
            if its one flow has detail, and the flow.
        """
        flow = self.flow(key_image, nonkey_image, key.queries, flow_features)
        if key.dense:
            return self.carried(key, key.mask_logits_per_layer, flow), flow
        if tuple(flow.padded_size) != tuple(key.padded_size):
            raise ValueError(
                f"{type(self.flow).__name__} covers a padded image of {flow.padded_size}; expected that of the masks, "
                f"{key.padded_size}; give both the same size divisor"
            )
        # The flow is resized to the mask grid (the query flow: from 1/8 to 1/4) and its vectors are scaled.
        warped = warp_segments(key.mask_logits_per_layer, flow.segment_flow, self.warp_grid)
        return self.carried(key, warped, flow), flow

    def carried(self, key: MaskPrediction, warped: Float[Tensor, "L B Q h w"], flow: FlowPrediction) -> MaskPrediction:
        """Return the first result of :meth:`propagate` from the key frame's prediction, its warped masks and the flow."""
        disocclusion = None
        if flow.disocclusion_logits is not None and flow.confidence is not None:
            disocclusion = DisocclusionScores(flow.disocclusion_logits, 1 - flow.confidence.float().amax(1, keepdim=True))
        carried = replace(key, mask_logits_per_layer=warped, disocclusion=disocclusion, windows=())
        if not key.dense and (flow.detail is None or flow.segment_flow.shape[1] > 1):
            return carried
        return replace(carried, pixel_reads=(PixelRead(key.mask_logits, winning_flow(carried, flow)),))

    def propagate_fused(self, fused: MaskPrediction, carried: MaskPrediction, flow: FlowPrediction) -> MaskPrediction:
        """Carry a fused key frame on: its own masks, the last set, as ``carried``; other sets and shares by the winning flow.

        Args:
            fused: prediction of the key frame, with shares.
            carried: result of :meth:`propagate` for the key frame's own prediction.
            flow: second result of :meth:`propagate`.
        """
        assert fused.shares is not None
        dense = winning_flow(carried, flow)
        one = flow.segment_flow
        if one.shape[1] > 1:
            one = resize_flow(pad_to(dense, carried.padded_size), (one.shape[-2], one.shape[-1]))[:, None]
        others = fused.mask_logits_per_layer[:, :, : -carried.mask_logits.shape[1]]
        moved = others if fused.dense else warp_segments(others, one, self.warp_grid)
        masks = torch.cat((moved, carried.mask_logits_per_layer), 2)
        reads: list[PixelRead | None] = []
        if carried.pixel_reads:
            # The sources of a source: masks are read once, however often they are carried.
            onward = [read and PixelRead(read.mask_logits, dense + warp(read.flow, dense)) for read in fused.pixel_reads[:-1]]
            reads = [*onward, *carried.pixel_reads]
        return replace(fused, mask_logits_per_layer=masks, shares=warp(fused.shares, dense), pixel_reads=tuple(reads))

    def check_fusion(self, rule: FusionRule) -> None:
        """Raise ``ValueError`` if the rule is unknown, or ``learned`` and the flow has no fusion head."""
        check_rule(rule)
        if rule == "learned" and self.flow.fusion is None:
            raise ValueError(
                f"fusion is learned, but the model's {type(self.flow).__name__} has no fusion head; expected a model of "
                "stage=fusion; train one, or choose fusion=photometric"
            )

    def confidence(
        self,
        rule: FusionRule,
        key: MaskPrediction,
        key_image: Num[Tensor, "B 3 H W"],
        carried: MaskPrediction,
        image: Num[Tensor, "B 3 H W"],
        flow: FlowPrediction,
    ) -> Float32[Tensor, "B H W"]:
        """Return the confidence of a carried prediction for :class:`src.models.fusion.Source`.

        Args:
            rule: see :data:`FusionRule`. ``consistency`` estimates a second flow, from the key frame to the frame.
            key: prediction of the key frame.
            key_image: key frame, RGB 0..255, as ``image``.
            carried: result of :meth:`propagate`.
            image: frame to which the masks are carried.
            flow: second result of :meth:`propagate`.
        """
        self.check_fusion(rule)
        if rule in ("nearest", "linear"):
            return torch.ones_like(image[:, 0], dtype=torch.float32)
        to_key = winning_flow(carried, flow)
        error = photometric_error(image, key_image, to_key)
        if rule == "learned" and self.flow.fusion is not None:
            weight = self.flow.fusion(error, image, to_key, flow.confidence if self.flow.has_confidence else None)
            learned: Tensor = weight.exp() * inside_image(to_key)
            return learned
        trust = torch.exp(-error) * inside_image(to_key)
        if rule == "consistency":
            back = winning_flow(key, self.flow(image, key_image, carried.queries))
            trust = trust * forward_backward_consistent(to_key, back)
        return trust
