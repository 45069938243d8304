"""The nouns of the project: what a clip, a pair, a prediction and the state of a stream are.

Shape letters, everywhere: B batch, T frames, Q queries, C channels, K classes, L decoder layers, H W image pixels, h w mask grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

IGNORE_INDEX = 255
"""Label value of pixels that belong to no class: no loss, no metric."""

Size = tuple[int, int]
"""(height, width) in pixels."""

KeyReason = Literal["first", "interval", "cut", "change", "max_interval"]
"""Reason for a key frame: first frame of the stream; end of a fixed interval; scene cut; enough image change since the last key
frame; longest interval reached."""


@dataclass(frozen=True)
class Clip:
    """One video on disk: its frames in time order and, where they exist, their labels.

    Attributes:
        name: unique within the dataset and split; also the name of its output folder.
        images: T image files.
        labels: T label files, ``None`` where a frame has no label.
    """

    name: str
    images: tuple[Path, ...]
    labels: tuple[Path | None, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"clip {self.name}: {len(self.images)} images but {len(self.labels)} labels; expected one each")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled_frames(self) -> tuple[int, ...]:
        """Indices of the frames that have a label."""
        return tuple(i for i, label in enumerate(self.labels) if label is not None)


class FramePair(NamedTuple):
    """Which two frames of which clip make a training pair.

    Attributes:
        clip: index into the list of clips.
        key: frame index of the key frame.
        nonkey: frame index of the labelled non-key frame; equal to ``key`` for single-frame training.
    """

    clip: int
    key: int
    nonkey: int


class PairSample(NamedTuple):
    """One training sample on the CPU: two frames, the label of the second, and the flow between them where it is known.

    Attributes:
        key_image: (3, H, W) uint8 RGB.
        nonkey_image: (3, H, W) uint8 RGB.
        nonkey_label: (H, W) uint8 or int64, classes or ``IGNORE_INDEX``.
        flow: (2, H, W) float32, backward flow in pixels: stored at the non-key pixel, pointing to its source in the key
            frame; NaN where it is unknown or its source is hidden. ``None`` where the data has no flow.
        name: ``clip/key->nonkey``, for messages.
    """

    key_image: Tensor
    nonkey_image: Tensor
    nonkey_label: Tensor
    flow: Tensor | None
    name: str


class PairBatch(NamedTuple):
    """Training samples stacked: the fields of ``PairSample`` with a leading B, unpadded, RGB 0..255.

    Attributes:
        key_image: (B, 3, H, W) uint8; from the loader in the memory order of its samples, on the device channel by channel.
        nonkey_image: the same.
        nonkey_label: (B, H, W), from the loader uint8 or int64 as in its samples, on the device int64.
        flow: (B, 2, H, W) float32 with NaN where unknown, or ``None``.
        offset: (B,) int64, ``key - nonkey`` in frames (0 for single frames and for pairs without a time distance).
        sample_id: (B,) int64, the number of each sample in the run; every random draw is keyed by it.
        names: B names, for messages.
        skipped: number of a sample that was replaced because a file is damaged, and which; usually none.
    """

    key_image: Tensor
    nonkey_image: Tensor
    nonkey_label: Tensor
    flow: Tensor | None
    offset: Tensor
    sample_id: Tensor
    names: list[str]
    skipped: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class DisocclusionScores:
    """Class scores of a light branch, for places that no mask of the key frame explains.

    Attributes:
        logits: (B, K, h, w), before the softmax; any grid that covers the padded image.
        weight: (B, 1, h', w') in 0..1, the share of these scores in the result; 0 leaves the masks' scores as they are.
    """

    logits: Tensor
    weight: Tensor


@dataclass(frozen=True)
class MaskPrediction:
    """What a query segmentor says about an image, before any post-processing.

    Attributes:
        class_logits_per_layer: (L, B, Q, K + 1); the last class is "no object". ``[-1]`` is the final layer.
        mask_logits_per_layer: (L, B, Q, h, w), before the sigmoid, on a grid that covers the padded image.
        queries: (B, Q, C), segment embeddings of the last layer, after the decoder's layer norm.
        image_size: (H, W) of the unpadded image.
        padded_size: (H, W) of the image that the mask grid covers; padding is at the right and bottom.
        disocclusion: class scores of disoccluded places; ``None`` on a key frame, and without a disocclusion head.
    """

    class_logits_per_layer: Tensor
    mask_logits_per_layer: Tensor
    queries: Tensor
    image_size: Size
    padded_size: Size
    disocclusion: DisocclusionScores | None = None

    @property
    def class_logits(self) -> Tensor:
        """(B, Q, K + 1) of the final layer."""
        return self.class_logits_per_layer[-1]

    @property
    def mask_logits(self) -> Tensor:
        """(B, Q, h, w) of the final layer."""
        return self.mask_logits_per_layer[-1]

    def final_layer(self) -> MaskPrediction:
        """The same prediction with L = 1: all that inference needs."""
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
        pixel_flows: flows of the image as a whole, (B, 2, h_i, w_i), coarse to fine, each in pixels of its own grid; empty
            where the estimator has none. Training supervises them.
        padded_size: (H, W) of the image that all these grids cover.
        confidence: (B, Q or 1, h, w) in 0..1, how likely the non-key pixel is visible in the key frame; ``None`` where the
            estimator does not say. What has little of it is new, and no motion explains it.
        disocclusion_logits: (B, K, h', w'), class logits predicted from the non-key image, used where the confidence is low;
            ``None`` where the estimator has no such branch.
        sources: what the estimator makes ``detail`` from (``FlowEstimator.with_detail``); empty where it has none to offer.
        detail: (B, 2, H, W), pixels of the padded image: what a bilinear enlargement of any of the finest flows misses there;
            ``None`` where nobody asked for it.
    """

    segment_flow: Tensor
    pixel_flows: tuple[Tensor, ...]
    padded_size: Size
    confidence: Tensor | None = None
    disocclusion_logits: Tensor | None = None
    sources: tuple[Tensor, ...] = ()
    detail: Tensor | None = None


@dataclass(frozen=True)
class KeyFrameState:
    """All that a stream remembers between two frames.

    Attributes:
        image: (B, 3, H, W) the key frame, RGB 0..255.
        prediction: the segmentor's final layer on it.
        index: number of the frame last seen, counted from 0 at the start of the stream.
        age: frames since the key frame; 0 on the key frame itself.
        reason: why the frame last seen is a key frame; ``None`` where it is not, or nobody asked a scheduler.
        schedule: what the scheduler remembers of the stream, a value of its own type; ``None`` for one that remembers nothing.
        flow_features: what the flow estimator wants to see of the key frame again, made once
            (``FlowEstimator.encode_key``); ``None`` where it looks at the image alone.
    """

    image: Tensor
    prediction: MaskPrediction
    index: int
    age: int
    reason: KeyReason | None = None
    schedule: object | None = None
    flow_features: tuple[Tensor, ...] | None = None
