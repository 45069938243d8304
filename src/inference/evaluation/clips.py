"""Scores and times of a method over clips, through the streaming code that users run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from src.data.clips import ClipDataset
from src.inference.distributed import SINGLE, World
from src.inference.evaluation.scores import EvaluationResult, Scores
from src.inference.evaluation.warped_agreement import WarpedAgreement
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.structures import Clip

Phases = Literal["all", "first", "offsets"]
ProgressCallback = Callable[[int, int], None]
"""Called with (frames done, frames in all) after every frame."""
MapSink = Callable[[int, int, Tensor], None]
"""Called with (clip, frame, semantic_map (H, W) int64) for every frame of every clip."""


def evaluate_clips(
    propagator: Propagator,
    dataset: ClipDataset,
    key_interval: int = 5,
    phases: Phases = "all",
    short_side: int | None = None,
    max_long_side: int | None = None,
    autocast: torch.dtype | None = None,
    progress: ProgressCallback | None = None,
    temporal_consistency: bool = False,
    sink: MapSink | None = None,
    world: World = SINGLE,
) -> EvaluationResult:
    """Evaluate a network at a fixed key interval.

    Args:
        propagator: the network, on the device where it shall run.
        dataset: clips with labels; frames without one are run but not scored, and those behind a clip's last label are left out.
        key_interval: frames from key frame to key frame.
        phases: ``all`` averages over every position of the key frames; ``first`` has them at 0, k, 2k, ... only (the paper);
            ``offsets`` is :func:`evaluate_offsets`.
        short_side: see :class:`StreamingSegmentor`.
        max_long_side: see :class:`StreamingSegmentor`.
        autocast: see :class:`StreamingSegmentor`.
        progress: told after every frame.
        temporal_consistency: see :func:`evaluate_streams`.
        sink: see :func:`evaluate_streams`.
        world: see :func:`evaluate_streams`.

    Raises:
        ValueError: see :func:`evaluate_streams`; if ``offsets`` is to give what only a run over whole clips has.
    """
    if phases not in ("all", "first", "offsets"):
        raise ValueError(f"phases is {phases!r}, expected 'all', 'first' or 'offsets'")
    schedulers = [FixedInterval(key_interval, phase) for phase in range(key_interval if phases == "all" else 1)]
    streams = [StreamingSegmentor(propagator, s, short_side, max_long_side, autocast) for s in schedulers]
    if phases == "offsets":
        if temporal_consistency or sink is not None:
            raise ValueError("phases is 'offsets', which sees two frames of a clip: no maps to save, no temporal consistency")
        return evaluate_offsets(streams[0], dataset, key_interval, progress, world)
    return evaluate_streams(streams, dataset, progress, key_interval, temporal_consistency, sink, world)


def evaluate_streams(
    streams: Sequence[StreamingSegmentor],
    dataset: ClipDataset,
    progress: ProgressCallback | None = None,
    num_offsets: int | None = None,
    temporal_consistency: bool = False,
    sink: MapSink | None = None,
    world: World = SINGLE,
) -> EvaluationResult:
    """Run every stream over every clip and average their scores. Memory does not grow with the number of clips.

    Args:
        streams: the phases of a method, any schedulers.
        dataset: clips with labels.
        progress: told after every frame.
        num_offsets: bound on the frames from key frame to key frame; default the longest clip.
        temporal_consistency: whether to compare each map with the flow-warped one before it; costs two DIS flows a frame.
        sink: gets the maps of the first stream, of the frames behind the last label too, and lets labels be absent.
        world: processes over which the clips are spread, each of them whole; scores, the same in all of them, are of all clips.

    Raises:
        ValueError: if there is no stream, no labelled frame, or the network and the data differ in their number of classes.
    """
    if not streams:
        raise ValueError("no stream to evaluate")
    _check(streams[0], dataset, needs_labels=sink is None)
    num_frames = [
        [_frames_to_run(clip) if n or sink is None else len(clip) for clip in dataset.clips] for n in range(len(streams))
    ]
    mine = world.assign([sum(counts) for counts in zip(*num_frames, strict=True)])
    step = _Counter(sum(counts[clip] for counts in num_frames for clip in mine), progress)
    scores = Scores(dataset.num_classes, num_offsets or max(map(max, num_frames)))
    for number, stream in enumerate(streams):
        scores.start_phase()
        agreement = WarpedAgreement() if temporal_consistency else None
        for clip in mine:
            _run_clip(stream, dataset, clip, num_frames[number][clip], scores, agreement, None if number else sink, step)
        scores.end_phase(None if agreement is None else agreement.metric)
    return scores.result(sum(len(clip.labelled_frames) for clip in dataset.clips), world)


def _run_clip(
    stream: StreamingSegmentor,
    dataset: ClipDataset,
    clip: int,
    num_frames: int,
    scores: Scores,
    agreement: WarpedAgreement | None,
    sink: MapSink | None,
    step: _Counter,
) -> None:
    state = None
    labelled = set(dataset.clips[clip].labelled_frames)
    for frame in range(num_frames):
        image = dataset.read_image(clip, frame)
        started = time.perf_counter()
        maps, state = stream.step(image[None], state)
        _wait_for(maps)
        scores.add_time(time.perf_counter() - started, state.age == 0, state.reason == "distrust")
        found = maps[0].cpu()
        if agreement is not None:
            agreement.add(image, found)
        if sink is not None:
            sink(clip, frame, found)
        if frame in labelled:
            scores.add_frame(found, dataset.read_label(clip, frame), state.age)
        else:
            scores.end_run()
        step()
    scores.end_run()
    if agreement is not None:
        agreement.end_clip()


def evaluate_offsets(
    stream: StreamingSegmentor,
    dataset: ClipDataset,
    key_interval: int,
    progress: ProgressCallback | None = None,
    world: World = SINGLE,
) -> EvaluationResult:
    """Score every labelled frame once with its key frame 0, 1, ... k-1 frames before it, and nothing between (Cityscapes).

    A non-key frame depends on its key frame and itself alone, so only these two are read and run. The result's phases are the
    offsets: ``miou`` is their mean, ``miou_by_offset`` has each. Labels with too few frames before them are left out at that
    offset (``frames_by_offset``). There is no consistency over time.

    Args:
        stream: the method; its scheduler is not asked.
        dataset: clips with labels.
        key_interval: k.
        progress: told after every scored frame.
        world: see :func:`evaluate_streams`.

    Raises:
        ValueError: if an offset has no labelled frame with so many frames before it, or see :func:`evaluate_streams`.
    """
    _check(stream, dataset, needs_labels=True)
    labelled = [(number, frame) for number, clip in enumerate(dataset.clips) for frame in clip.labelled_frames]
    furthest = max(frame for _, frame in labelled)
    if furthest < key_interval - 1:
        raise ValueError(
            f"no labelled frame has {key_interval - 1} frames before it (at most {furthest}): lower the key interval"
        )
    own = set(world.assign([len(clip.labelled_frames) for clip in dataset.clips]))
    mine = [(clip, frame) for clip, frame in labelled if clip in own]
    step = _Counter(sum(frame >= offset for _, frame in mine for offset in range(key_interval)), progress)
    scores = Scores(dataset.num_classes, key_interval)
    for offset in range(key_interval):
        scores.start_phase()
        for clip, frame in mine:
            if frame < offset:
                continue
            image = dataset.read_image(clip, frame)
            key_image = image if offset == 0 else dataset.read_image(clip, frame - offset)
            found = _segment_or_propagate(stream, key_image[None], None if offset == 0 else image[None], scores)
            scores.add_frame(found, dataset.read_label(clip, frame), offset)
            scores.end_run()
            step()
        scores.end_phase()
    return scores.result(len(labelled), world)


def _segment_or_propagate(stream: StreamingSegmentor, key_image: Tensor, image: Tensor | None, scores: Scores) -> Tensor:
    """The map of the key frame, or of another frame that it is carried to; its step is timed."""
    started = time.perf_counter()
    prediction, state = stream.segment_key(key_image)
    if image is not None:
        _wait_for(prediction.mask_logits)
        started = time.perf_counter()
        prediction, _ = stream.propagate(image, state)
    shown = key_image if image is None else image
    found = semantic_map(prediction, (shown.shape[-2], shown.shape[-1]))
    _wait_for(found)
    scores.add_time(time.perf_counter() - started, image is None)
    return found[0].cpu()


def _check(stream: StreamingSegmentor, dataset: ClipDataset, needs_labels: bool) -> None:
    if needs_labels and not any(clip.labelled_frames for clip in dataset.clips):
        raise ValueError(f"{type(dataset).__name__} has no labelled frame in its {len(dataset.clips)} clips: nothing to score")
    classes = stream.propagator.segmentor.num_classes
    if classes != dataset.num_classes:
        raise ValueError(
            f"the network knows {classes} classes, the data {dataset.num_classes} ({', '.join(dataset.classes[:5])}, ...)"
        )


def _frames_to_run(clip: Clip) -> int:
    """Nothing is asked of the frames behind the last label (a third of every Cityscapes snippet)."""
    return max(clip.labelled_frames, default=-1) + 1


def _wait_for(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


class _Counter:
    """Tells the progress callback how many frames are done."""

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self.total = total
        self.progress = progress
        self.done = 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
