"""Shared types: clips, predictions and the state of a stream.

Shape letters, everywhere: B batch, T frames, Q queries, C channels, K classes, L decoder layers, H W image pixels, h w mask grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from jaxtyping import Float, Num
from torch import Tensor

IGNORE_INDEX = 255
"""Label value of pixels without a class; losses and metrics skip them. In label maps the background of networks of one class."""

Size = tuple[int, int]
"""(height, width) in pixels."""

KeyReason = Literal["first", "interval", "cut", "change", "max_interval"]
"""Reason for a key frame: first frame of the stream; end of a fixed interval; scene cut; enough image change since the last key
frame; longest interval reached."""


@dataclass(frozen=True)
class Clip:
    """Files of one video: frames in time order, and their labels.

    Attributes:
        name: unique name within the dataset and split; also the name of its output folder.
        images: T image files.
        labels: T label files, ``None`` for a frame without a label.

    Raises:
        ValueError: if images and labels differ in number.
    """

    name: str
    images: tuple[Path, ...]
    labels: tuple[Path | None, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"clip {self.name} has {len(self.images)} images and {len(self.labels)} labels; expected equal numbers"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled_frames(self) -> tuple[int, ...]:
        """Indices of the labelled frames."""
        return tuple(i for i, label in enumerate(self.labels) if label is not None)


@dataclass(frozen=True)
class DisocclusionScores:
    """Class scores of the disocclusion head, for places without a source in the key frame.

    Attributes:
        logits: (B, K, h, w), before the softmax, on any grid that covers the padded image.
        weight: (B, 1, h', w') in 0..1, weight of these scores in the result; 0 leaves the masks' scores unchanged.
    """

    logits: Float[Tensor, "B K _ _"]
    weight: Float[Tensor, "B 1 _ _"]


@dataclass(frozen=True)
class PixelRead:
    """Masks of a key frame with the place of every pixel in it: label maps are then sharper than the grid of warped masks.

    Attributes:
        mask_logits: (B, Q, h, w) of the key frame, before the sigmoid, on a grid that covers the padded image.
        flow: (B, 2, H, W), from every pixel of the unpadded image to its source in the key frame, pixels.
    """

    mask_logits: Float[Tensor, "B Q h w"]
    flow: Float[Tensor, "B 2 H W"]


@dataclass(frozen=True)
class Window:
    """Prediction for a rectangle of an image.

    Attributes:
        corner: (row, column) of its first pixel.
        prediction: masks of the rectangle, without padding.
    """

    corner: tuple[int, int]
    prediction: MaskPrediction


@dataclass(frozen=True)
class MaskPrediction:
    """Output of a segmentor, before post-processing.

    Attributes:
        class_logits_per_layer: (L, B, Q, K + 1), the last class is "no object"; ``[-1]`` is the final layer.
        mask_logits_per_layer: (L, B, Q, h, w), before the sigmoid, on a grid that covers the padded image.
        queries: (B, Q, C), segment embeddings of the final layer, after the decoder's layer norm.
        image_size: (H, W) of the unpadded image.
        padded_size: (H, W) of the image that the mask grid covers; padding is at the right and bottom.
        disocclusion: class scores of disoccluded places; ``None`` on a key frame, and without a disocclusion head.
        shares: (B, S, H, W) in 0..1, at the pixels of the unpadded image: weight of each of S sets of Q / S consecutive queries,
            for a prediction fused from S sources; ``None``: every query counts fully.
        pixel_reads: for each set of queries the unwarped masks and the flow of every pixel, from which label maps and scores are
            read; ``None`` for a set whose masks are read as they are; empty if all are.
        windows: predictions of parts of the image, whose mean scores are those of the image; its own masks are then an
            approximation, on which flows act. Empty for a prediction of the whole image.
        memory: (B, Q, C), queries from which a recurrent segmentor starts in the next frame; ``None`` of other segmentors.
        dense: the masks are the class scores of a dense segmentor, in sets of Q = K: their weighted sum counts, without a
            sigmoid, and class logits select class q for mask q. They are read, never warped; ``padded_size`` is ``image_size``.
    """

    class_logits_per_layer: Float[Tensor, "L B Q _"]
    mask_logits_per_layer: Float[Tensor, "L B Q h w"]
    queries: Float[Tensor, "B Q C"]
    image_size: Size
    padded_size: Size
    disocclusion: DisocclusionScores | None = None
    shares: Float[Tensor, "B S _ _"] | None = None
    pixel_reads: tuple[PixelRead | None, ...] = ()
    windows: tuple[Window, ...] = ()
    memory: Float[Tensor, "B Q C"] | None = None
    dense: bool = False

    @property
    def class_logits(self) -> Float[Tensor, "B Q _"]:
        """(B, Q, K + 1) of the final layer."""
        return self.class_logits_per_layer[-1]

    @property
    def mask_logits(self) -> Float[Tensor, "B Q h w"]:
        """(B, Q, h, w) of the final layer."""
        return self.mask_logits_per_layer[-1]

    def final_layer(self) -> MaskPrediction:
        """Return the prediction of the final layer only (L = 1)."""
        return replace(
            self,
            class_logits_per_layer=self.class_logits_per_layer[-1:],
            mask_logits_per_layer=self.mask_logits_per_layer[-1:],
        )


@dataclass(frozen=True)
class FlowPrediction:
    """Motion from the non-key frame back to the key frame, in pixels of its own grid: channel 0 right, channel 1 down.

    Attributes:
        segment_flow: (B, Q, 2, h, w), one flow per query; Q = 1 means one flow for all segments.
        pixel_flows: class-agnostic flows (B, 2, h_i, w_i), coarse to fine, supervised in training; empty for estimators
            without them.
        padded_size: (H, W) of the image that all these grids cover.
        confidence: (B, Q or 1, h, w) in 0..1, probability that the non-key pixel is visible in the key frame; low where it is
            disoccluded. ``None`` for estimators without a visibility head.
        disocclusion_logits: (B, K, h', w'), class logits predicted from the non-key image, used where the confidence is low;
            ``None`` for estimators without a disocclusion head.
        sources: features from which ``FlowEstimator.with_detail`` computes ``detail``; empty for estimators without it.
        detail: (B, 2, H, W), flow of every pixel of the padded image minus the bilinearly upsampled finest flow, pixels;
            ``None`` unless requested by ``with_detail``.
    """

    segment_flow: Float[Tensor, "B Q 2 h w"]
    pixel_flows: tuple[Float[Tensor, "B 2 _ _"], ...]
    padded_size: Size
    confidence: Float[Tensor, "B _ _ _"] | None = None
    disocclusion_logits: Float[Tensor, "B K _ _"] | None = None
    sources: tuple[Tensor, ...] = ()
    detail: Float[Tensor, "B 2 H W"] | None = None


@dataclass(frozen=True)
class FusedKey:
    """Key frame fused with what the key frame before carries to it.

    Attributes:
        prediction: masks of both, the key frame's own last.
        offsets: signed distance in frames from the key frame to the key frame of each source; the last is 0.
    """

    prediction: MaskPrediction
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class KeyFrameState:
    """State of a stream between two frames.

    Attributes:
        image: (B, 3, H, W) key frame, RGB 0..255.
        prediction: final layer of the segmentor's prediction on the key frame.
        index: number of the latest frame, from 0 at the start of the stream.
        age: frames since the key frame; 0 on the key frame itself.
        reason: reason for a key frame at the latest frame; ``None`` for a propagated frame, or without a scheduler.
        schedule: state of the scheduler, a value of its own type; ``None`` for a stateless scheduler.
        change: image change since the key frame, where key frames are fused; detects the scene cuts that forbid it.
        fused: the key frame fused with the past, carried on to the frames after it; ``None`` without fusion.
        flow_features: features of the key frame, computed once by ``FlowEstimator.encode_key``; ``None`` for estimators
            without them.
    """

    image: Num[Tensor, "B 3 H W"]
    prediction: MaskPrediction
    index: int
    age: int
    reason: KeyReason | None = None
    schedule: object | None = None
    change: object | None = None
    fused: FusedKey | None = None
    flow_features: tuple[Tensor, ...] | None = None

    @property
    def key_index(self) -> int:
        """Number of the key frame."""
        return self.index - self.age
