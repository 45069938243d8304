"""Label propagation: the label of a key frame, warped along a flow, is scored against the label of a later frame.

The score does not depend on a segmentor, and the mean over classes shows errors on thin objects, which an end-point error over
all pixels hides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from src.data.clips import ClipDataset, naming_frame
from src.inference.evaluation.flow.method import FlowMethod
from src.inference.evaluation.progress import ProgressCallback, counted
from src.metrics.iou import MeanIoU
from src.ops.warp import warp_label
from src.structures import IGNORE_INDEX


@dataclass(frozen=True)
class OffsetScore:
    """Score at one offset.

    Attributes:
        offset: frames from key frame to target frame, positive.
        miou: 0..1, mean over the classes present in the target labels.
        wiou: 0..1, weighted by the classes' pixels.
        iou_per_class: K values 0..1, NaN where absent.
        pairs: number of frame pairs.
    """

    offset: int
    miou: float
    wiou: float
    iou_per_class: tuple[float, ...]
    pairs: int


def label_pairs(dataset: ClipDataset, offsets: Sequence[int], target_stride: int = 1) -> list[tuple[int, int, int]]:
    """List (clip, key, target) of all labelled frames at one of the offsets, grouped by key frame.

    Args:
        dataset: clips with labels.
        offsets: frames from key frame to target frame, positive and different.
        target_stride: n; the targets are the frames 0, n, 2n, ... of a clip.

    Raises:
        ValueError: if an offset or the stride is not positive, an offset is repeated, or an offset has no pair.
    """
    if not offsets or min(offsets) < 1 or len(set(offsets)) < len(offsets) or target_stride < 1:
        raise ValueError(
            f"offsets {list(offsets)}, target_stride {target_stride}; expected different offsets and a stride, all positive"
        )
    pairs = []
    for number, clip in enumerate(dataset.clips):
        labelled = set(clip.labelled_frames)
        targets = {frame for frame in labelled if frame % target_stride == 0}
        pairs += [(number, key, key + offset) for key in sorted(labelled) for offset in offsets if key + offset in targets]
    empty = [offset for offset in offsets if not any(target - key == offset for _, key, target in pairs)]
    if empty:
        raise ValueError(f"no two labelled frames of a clip are {', '.join(map(str, empty))} frames apart: choose other offsets")
    return pairs


def propagate_labels(
    method: FlowMethod,
    dataset: ClipDataset,
    offsets: Sequence[int],
    target_stride: int = 1,
    progress: ProgressCallback | None = None,
) -> list[OffsetScore]:
    """Warp labels over each offset and score them.

    Each offset has one confusion matrix over all :func:`label_pairs`; a pixel whose target label or warped label is void is left
    out.
    """
    pairs = label_pairs(dataset, offsets, target_stride)
    scores = {offset: MeanIoU(dataset.num_classes) for offset in offsets}
    last, key, key_label = None, None, torch.empty(0)
    for clip, key_frame, target in counted(pairs, progress):
        if key is None or last != (clip, key_frame):
            # Segmented once for all offsets.
            with naming_frame(dataset, clip, key_frame):
                key = method.start(dataset.read_image(clip, key_frame))
            key_label, last = dataset.read_label(clip, key_frame), (clip, key_frame)
        with naming_frame(dataset, clip, target):
            flow = method.to_key(key, dataset.read_image(clip, target))
        warped = warp_label(key_label[None], flow[None], dataset.num_classes)[0]
        scores[target - key_frame].update(*_without_void(warped, dataset.read_label(clip, target)))
    return [_score(offset, scores[offset], sum(target - key == offset for _, key, target in pairs)) for offset in offsets]


def _without_void(warped: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Move void pixels of the warped label to the label, since metrics accept void only there."""
    void = warped == IGNORE_INDEX
    return warped.masked_fill(void, 0), label.masked_fill(void, IGNORE_INDEX)


def _score(offset: int, metric: MeanIoU, pairs: int) -> OffsetScore:
    figures = metric.compute()
    return OffsetScore(offset, figures["miou"].item(), figures["wiou"].item(), tuple(figures["iou_per_class"].tolist()), pairs)
