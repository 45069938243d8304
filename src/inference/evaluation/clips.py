"""Scores and step times of a method over clips, through the streaming code of prediction."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from src.data.clips import ClipDataset, naming_frame
from src.inference.distributed import SINGLE, Share
from src.inference.evaluation.fusing import PLAIN, FrameKind, Fusing
from src.inference.evaluation.pairs import check_data, disoccluded_since, evaluate_pairs
from src.inference.evaluation.progress import FrameCounter, ProgressCallback
from src.inference.evaluation.scores import EvaluationResult, Scores
from src.inference.evaluation.warped_agreement import WarpedAgreement
from src.inference.runtime.frames import EAGER, Runtimes
from src.inference.scheduling.scheduler import FixedInterval, KeyFrameScheduler
from src.inference.step_result import LabelledFrame, LabelStream
from src.inference.streaming import StreamingSegmentor
from src.models.propagator import Propagator

EvaluationProtocol = Literal["stream", "pairs"]
KeyFrameOffsets = Literal["all", "first"]
MapCallback = Callable[[int, int, Tensor], None]
"""Called with (clip, frame, semantic_map (H, W) int64) for every frame of every clip."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Settings of an evaluation.

    Attributes:
        short_side, max_long_side, autocast: see :class:`StreamingSegmentor`.
        protocol: ``stream`` runs all frames of a clip; ``pairs`` runs :func:`evaluate_pairs` (the paper's Cityscapes protocol).
        key_frame_offsets: key frames of ``stream``: ``all`` averages over every position of the key frames; ``first`` has them
            at 0, k, 2k, ... (the VSPW protocol).
        temporal_consistency, disoccluded: see :func:`evaluate_streams`.
        interval_shifts: runs to average for schedulers other than ``fixed``, their first intervals shortened evenly; 1 run
            where ``key_frame_offsets`` is ``first``.
        fusing: mode and fusion of the stream.
        runtimes: runtime of the networks, shared by all streams.

    Raises:
        ValueError: if a name is unknown, or ``pairs`` is combined with an option of whole clips.
    """

    short_side: int | None = None
    max_long_side: int | None = None
    autocast: torch.dtype | None = None
    protocol: EvaluationProtocol = "stream"
    key_frame_offsets: KeyFrameOffsets = "all"
    temporal_consistency: bool = False
    interval_shifts: int = 5
    disoccluded: bool = False
    fusing: Fusing = PLAIN
    runtimes: Runtimes = EAGER

    def __post_init__(self) -> None:
        for name, known in (("protocol", get_args(EvaluationProtocol)), ("key_frame_offsets", get_args(KeyFrameOffsets))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        whole_clips = self.temporal_consistency or self.key_frame_offsets != "all" or self.fusing != PLAIN
        if self.protocol == "pairs" and whole_clips:
            raise ValueError(
                "protocol is 'pairs', which runs two frames of a clip at every offset; expected temporal_consistency=false, "
                "key_frame_offsets=all, mode=online and fuse_keys=false"
            )

    def stream(self, propagator: Propagator, scheduler: KeyFrameScheduler) -> StreamingSegmentor:
        """Build a stream with these settings of size, precision, mode and fusion."""
        if self.protocol == "pairs" and propagator.recurrent:
            raise ValueError("protocol is 'pairs' and the method videomt, which runs whole clips; expected protocol=stream")
        return StreamingSegmentor(
            propagator,
            scheduler,
            self.short_side,
            self.max_long_side,
            self.autocast,
            mode=self.fusing.mode,
            fusion=self.fusing.fusion or "photometric",
            fuse_keys=self.fusing.fuse_keys,
            runtime=self.runtimes,
        )


DEFAULT_OPTIONS = EvaluationOptions()


def evaluate_clips(
    propagator: Propagator,
    dataset: ClipDataset,
    key_interval: int = 5,
    options: EvaluationOptions = DEFAULT_OPTIONS,
    progress: ProgressCallback | None = None,
    on_semantic_map: MapCallback | None = None,
    share: Share[Scores] = SINGLE.share,
) -> EvaluationResult:
    """Evaluate a network at a fixed key interval by :func:`evaluate_streams` or :func:`evaluate_pairs`.

    Raises:
        ValueError: if ``on_semantic_map`` is given under the protocol ``pairs``, which does not run every frame.
    """
    if options.protocol == "pairs":
        if on_semantic_map is not None:
            raise ValueError("protocol is 'pairs', which does not run every frame; expected 'stream' to save predictions")
        stream = options.stream(propagator, FixedInterval(key_interval))
        return evaluate_pairs(stream, dataset, key_interval, progress, share, options.disoccluded)
    offsets = range(key_interval if options.key_frame_offsets == "all" else 1)
    streams = [options.stream(propagator, FixedInterval(key_interval, offset)) for offset in offsets]
    return evaluate_streams(streams, dataset, progress, options.temporal_consistency, on_semantic_map, share, options.disoccluded)


def evaluate_streams(
    streams: Sequence[LabelStream],
    dataset: ClipDataset,
    progress: ProgressCallback | None = None,
    temporal_consistency: bool = False,
    on_semantic_map: MapCallback | None = None,
    share: Share[Scores] = SINGLE.share,
    disoccluded: bool = False,
) -> EvaluationResult:
    """Run every stream over every clip and average their scores. Memory does not grow with the number of clips.

    Unlabelled frames are run but not scored; frames after a clip's last label are not run, offline none after the next key frame.

    Args:
        streams: runs of one method that differ in the positions of the key frames.
        dataset: clips with labels.
        progress: called after every frame.
        temporal_consistency: compare each map with the flow-warped previous map; costs two DIS flows a frame.
        on_semantic_map: receives the maps of the first stream, also of frames after the last label; labels may then be absent.
        share: division of the clips, each clip whole in one process.
        disoccluded: score the pixels without a source in the key frame apart, where the data has exact flow.
    """
    if not streams:
        raise ValueError("0 streams to evaluate; expected at least 1")
    check_data(streams[0], dataset, needs_labels=on_semantic_map is None)
    # Up to the last label: a third of every Cityscapes snippet comes after it.
    up_to_label = [max(clip.labelled_frames, default=-1) + 1 for clip in dataset.clips]
    num_frames = [up_to_label] * len(streams)
    if on_semantic_map is not None:
        num_frames[0] = [len(clip) for clip in dataset.clips]

    def score(mine: Sequence[int]) -> Scores:
        counter = FrameCounter(sum(counts[clip] for counts in num_frames for clip in mine), progress)
        scores = Scores(dataset.num_classes)
        for number, stream in enumerate(streams):
            stream.expect(sum(num_frames[number][clip] for clip in mine) * (len(streams) - number))
            scores.start_run()
            agreement = WarpedAgreement() if temporal_consistency else None
            for clip in mine:
                for step in _run_clip(stream, dataset, clip, num_frames[number][clip]):
                    scores.add_time(step.labelled.seconds, FrameKind.of(step.labelled.is_key, step.labelled.offsets))
                    if agreement is not None:
                        with naming_frame(dataset, clip, step.frame):
                            agreement.add(step.image, step.semantic_map)
                    if on_semantic_map is not None and number == 0:
                        on_semantic_map(clip, step.frame, step.semantic_map)
                    _score(scores, step, dataset, clip, stream, disoccluded)
                    counter.advance()
                scores.end_sequence()
                scores.flicker.end_clip()
                if agreement is not None:
                    agreement.end_clip()
            scores.end_run(None if agreement is None else agreement.metric)
        return scores

    costs = [sum(counts) for counts in zip(*num_frames, strict=True)]
    return Scores.total(share(costs, score, progress)).result(sum(len(clip.labelled_frames) for clip in dataset.clips))


def _in_complete_interval(scheduler: KeyFrameScheduler, key: int, frames: int) -> bool:
    """Return whether a key frame and the next one of a clip's ``frames`` are a fixed interval apart."""
    if not isinstance(scheduler, FixedInterval):
        return False
    return (key - scheduler.phase) % scheduler.key_interval == 0 and key + scheduler.key_interval < frames


class _Step(NamedTuple):
    frame: int
    image: Tensor
    semantic_map: Tensor
    labelled: LabelledFrame


def _run_clip(stream: LabelStream, dataset: ClipDataset, clip: int, num_frames: int) -> Iterator[_Step]:
    """Run the first frames of a clip; more are read where a result waits for a later key frame."""
    waiting: deque[Tensor] = deque()
    latest = 0

    def images() -> Iterator[Tensor]:
        nonlocal latest
        for latest in range(len(dataset.clips[clip])):
            waiting.append(dataset.read_image(clip, latest))
            yield waiting[-1][None]

    results = stream.label_frames(images())
    for frame in range(num_frames):
        try:
            one = next(results)
        except ValueError as error:
            with naming_frame(dataset, clip, latest):
                raise error
        yield _Step(frame, waiting.popleft(), one.semantic_map[0].cpu(), one)


def _score(scores: Scores, step: _Step, dataset: ClipDataset, clip: int, stream: LabelStream, disoccluded: bool) -> None:
    is_labelled = dataset.clips[clip].labels[step.frame] is not None
    label = dataset.read_label(clip, step.frame) if is_labelled else None
    scores.flicker.update(step.semantic_map, label, step.labelled.is_key)
    if label is None:
        scores.end_sequence()
        return
    age = step.labelled.age
    if age is None:
        scores.add_frame(step.semantic_map, label)
        return
    lost = disoccluded_since(dataset, clip, step.frame, age) if disoccluded else None
    is_complete = isinstance(stream, StreamingSegmentor) and _in_complete_interval(
        stream.scheduler, step.frame - age, len(dataset.clips[clip])
    )
    scores.add_frame(step.semantic_map, label, age, age if is_complete else None, lost)
