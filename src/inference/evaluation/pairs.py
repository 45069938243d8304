"""Scores of pairs of a key frame and a labelled frame (the paper's Cityscapes protocol)."""

import time
from collections.abc import Sequence

from torch import Tensor

from src.data.clips import ClipDataset, naming_frame
from src.inference.distributed import SINGLE, Share
from src.inference.evaluation.fusing import PLAIN
from src.inference.evaluation.progress import FrameCounter, ProgressCallback
from src.inference.evaluation.scores import EvaluationResult, Scores
from src.inference.step_result import LabelStream
from src.inference.streaming import StreamingSegmentor
from src.ops.device import synchronize
from src.ops.masks import semantic_map
from src.ops.occlusion import occluded


def evaluate_pairs(
    stream: StreamingSegmentor,
    dataset: ClipDataset,
    key_interval: int,
    progress: ProgressCallback | None = None,
    share: Share[Scores] = SINGLE.share,
    disoccluded: bool = False,
) -> EvaluationResult:
    """Score every labelled frame with its key frame 0, 1, ... k-1 frames earlier (the paper's Cityscapes protocol).

    The prediction of a non-key frame depends only on its key frame and itself, so only these two are read and run. The runs of
    the result are the offsets: ``miou`` is their mean, ``miou_by_offset`` contains each. Labels with too few frames before them
    are left out at that offset (``frames_by_offset``). Consistency over time is not measured, and the stream's scheduler is not
    used. ``disoccluded`` is that of :func:`src.inference.evaluation.clips.evaluate_streams`.

    Raises:
        ValueError: if no labelled frame has k-1 frames before it.
    """
    check_data(stream, dataset, needs_labels=True)
    labelled = [(number, frame) for number, clip in enumerate(dataset.clips) for frame in clip.labelled_frames]
    furthest = max(frame for _, frame in labelled)
    if furthest < key_interval - 1:
        raise ValueError(
            f"no labelled frame has {key_interval - 1} frames before it (at most {furthest}): lower the key interval"
        )

    def score(clips: Sequence[int]) -> Scores:
        mine = [(clip, frame) for clip, frame in labelled if clip in set(clips)]
        counter = FrameCounter(sum(frame >= offset for _, frame in mine for offset in range(key_interval)), progress)
        scores = Scores(dataset.num_classes)
        for offset in range(key_interval):
            scores.start_run()
            for clip, frame in ((clip, frame) for clip, frame in mine if frame >= offset):
                image = dataset.read_image(clip, frame)
                key_image = image if offset == 0 else dataset.read_image(clip, frame - offset)
                with naming_frame(dataset, clip, frame):
                    found = _segment_or_propagate(stream, key_image[None], None if offset == 0 else image[None], scores)
                lost = disoccluded_since(dataset, clip, frame, offset) if disoccluded else None
                scores.add_frame(found, dataset.read_label(clip, frame), offset, disoccluded=lost)
                scores.end_sequence()
                counter.advance()
            scores.end_run()
        return scores

    costs = [len(clip.labelled_frames) for clip in dataset.clips]
    return Scores.total(share(costs, score, progress)).result(len(labelled))


def _segment_or_propagate(stream: StreamingSegmentor, key_image: Tensor, image: Tensor | None, scores: Scores) -> Tensor:
    """Return the map of the key frame, or of the non-key frame where there is one; only that frame's step is timed."""
    start = time.perf_counter()
    prediction, state = stream.segment_key(key_image)
    if image is not None:
        synchronize(prediction.mask_logits.device)
        start = time.perf_counter()
        prediction = stream.propagate(image, state).prediction
    scored = key_image if image is None else image
    found = semantic_map(prediction, (scored.shape[-2], scored.shape[-1]))
    synchronize(found.device)
    scores.add_time(time.perf_counter() - start, PLAIN.kinds[image is not None])
    return found[0].cpu()


def disoccluded_since(dataset: ClipDataset, clip: int, frame: int, age: int) -> Tensor | None:
    """Mark a frame's pixels (H, W) without a source ``age`` frames earlier; ``None`` at age 0 and without exact flow."""
    flow = dataset.read_flow(clip, nonkey=frame, key=frame - age) if age else None
    return None if flow is None else occluded(flow[None])[0]


def check_data(stream: LabelStream, dataset: ClipDataset, needs_labels: bool) -> None:
    """Check that data can be scored: it has labels, and as many classes as the network.

    Raises:
        ValueError: if there is no labelled frame where labels are needed, or the numbers of classes differ.
    """
    if needs_labels and not any(clip.labelled_frames for clip in dataset.clips):
        raise ValueError(f"{type(dataset).__name__} has no labelled frame in its {len(dataset.clips)} clips; expected at least 1")
    classes = stream.num_classes
    if classes != dataset.num_classes:
        raise ValueError(
            f"the network has {classes} classes, the data {dataset.num_classes} ({', '.join(dataset.classes[:5])}, ...); "
            "expected the same number"
        )
