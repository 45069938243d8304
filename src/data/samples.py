"""Training samples: frames of a pair, triplet or clip, and their batches; shape letters as in ``src/structures.py``."""

from typing import NamedTuple

from torch import Tensor


class FramePair(NamedTuple):
    """Indices of the frames of a training pair, triplet or clip.

    Attributes:
        clip: index in the list of clips.
        key: index of the key frame; of a triplet, the one before.
        nonkey: index of the labelled non-key frame; equal to ``key`` for single-frame training.
        after: index of the key frame after it; ``None`` for a pair.
        between: indices of the frames of a clip between key and non-key frame, in this order; empty for a pair.
    """

    clip: int
    key: int
    nonkey: int
    after: int | None = None
    between: tuple[int, ...] = ()


class PairSample(NamedTuple):
    """Training sample on the CPU: frames of a pair, triplet or clip, the label of the non-key frame, and the flow where known.

    In a clip, the non-key frame is the target; key frame and frames between are its references.

    Attributes:
        key_image: (3, H, W) uint8 RGB.
        nonkey_image: (3, H, W) uint8 RGB.
        nonkey_label: (H, W) uint8 or int64, classes or ``IGNORE_INDEX``.
        flow: (2, H, W) float32, backward flow in pixels: stored at the non-key pixel, pointing to its source in the key
            frame; NaN where unknown or occluded in the key frame. ``None`` for data without flow.
        name: ``clip/key->nonkey``, of a triplet ``clip/key->nonkey<-after``, for messages.
        offset: ``key - nonkey`` in frames; 0 for single frames and for pairs from a still.
        after_image: (3, H, W) uint8 RGB, the key frame on the other side; ``None`` for a pair.
        after_flow: (2, H, W) float32, as ``flow``, to the key frame on the other side.
        after_offset: ``after - nonkey`` in frames; 0 for single frames and for pairs.
        between_images: (3, H, W) uint8 RGB, the frames of a clip between key and non-key frame, in this order.
        reference_labels: (H, W), as ``nonkey_label``, of the key frame and the frames between; ``IGNORE_INDEX`` for a frame
            without a label. Empty for pairs and triplets.
    """

    key_image: Tensor
    nonkey_image: Tensor
    nonkey_label: Tensor
    flow: Tensor | None
    name: str
    offset: int = 0
    after_image: Tensor | None = None
    after_flow: Tensor | None = None
    after_offset: int = 0
    between_images: tuple[Tensor, ...] = ()
    reference_labels: tuple[Tensor, ...] = ()


class PairBatch(NamedTuple):
    """Batch of training samples: the fields of ``PairSample`` with a leading B, unpadded, RGB 0..255.

    Attributes:
        key_image: (B, 3, H, W) uint8; from the loader in the memory order of its samples, on the device contiguous.
        nonkey_image: (B, 3, H, W) uint8, as ``key_image``.
        nonkey_label: (B, H, W), from the loader uint8 or int64 as in its samples, on the device int64.
        flow: (B, 2, H, W) float32 with NaN where unknown, or ``None``.
        offset: (B,) int64, ``key - nonkey`` in frames (0 for single frames and for pairs from a still).
        sample_id: (B,) int64, number of each sample in the run; the key of all its random draws.
        names: B names, for messages.
        skipped: number and description of each sample that was replaced because of a damaged file; usually empty.
        after_image: (B, 3, H, W) uint8, as ``key_image``; ``None`` for pairs.
        after_flow: (B, 2, H, W) float32, as ``flow``, to ``after_image``.
        after_offset: (B,) int64, ``after - nonkey`` in frames (0 for single frames).
        between_images: (B, N, 3, H, W) uint8, as ``key_image``; ``None`` for pairs and triplets.
        reference_labels: (B, N + 1, H, W), as ``nonkey_label``, of the key frame and the frames between.
    """

    key_image: Tensor
    nonkey_image: Tensor
    nonkey_label: Tensor
    flow: Tensor | None
    offset: Tensor
    sample_id: Tensor
    names: list[str]
    skipped: tuple[tuple[int, str], ...] = ()
    after_image: Tensor | None = None
    after_flow: Tensor | None = None
    after_offset: Tensor | None = None
    between_images: Tensor | None = None
    reference_labels: Tensor | None = None
