"""Scores and times of a method over clips, through the streaming code that users run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

import torch
from torch import Tensor

from src.data.clips import ClipDataset
from src.data.resizing import resize_nearest
from src.inference.running_consistency import RunningConsistency
from src.inference.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.metrics.iou import MeanIoU
from src.models.propagator import Propagator
from src.structures import Clip

Phases = Literal["all", "first"]
ProgressCallback = Callable[[int, int], None]
"""Called with (frames done, frames in all) after every frame."""

WINDOWS = (8, 16)


@dataclass(frozen=True)
class StepTimes:
    """Wall-clock milliseconds of single steps: resizing, networks, warp and post-processing, but not reading the file.

    Attributes:
        median: what a typical frame takes; the figure to quote on a shared machine.
        mean: over all frames.
        worst: the slowest frame.
        frames: how many were timed. All are NaN where none was.
    """

    median: float
    mean: float
    worst: float
    frames: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> StepTimes:
        """From the durations of the steps, in seconds."""
        if not seconds:
            return cls(float("nan"), float("nan"), float("nan"), 0)
        return cls(1e3 * median(seconds), 1e3 * fmean(seconds), 1e3 * max(seconds), len(seconds))


@dataclass(frozen=True)
class EvaluationResult:
    """What one method scored over the clips of a dataset; scores are 0..1 and NaN where nothing could be scored.

    Attributes:
        miou: mean IoU over the classes present in the labels, mean over the phases.
        wiou: frequency-weighted IoU, mean over the phases.
        video_consistency: window length -> mVC, mean over the phases.
        iou_per_class: K values, mean over the phases.
        miou_by_distance: frames since the key frame -> mIoU of all such frames, of all phases together.
        key_times: of the key frames.
        nonkey_times: of the frames between.
        phases: how many runs over the clips were averaged.
        frames: how many labelled frames one run scored.
    """

    miou: float
    wiou: float
    video_consistency: dict[int, float]
    iou_per_class: tuple[float, ...]
    miou_by_distance: dict[int, float]
    key_times: StepTimes
    nonkey_times: StepTimes
    phases: int
    frames: int

    def mean_ms(self, key_interval: int) -> float:
        """Milliseconds per frame over one interval, from the medians."""
        if key_interval == 1:
            return self.key_times.median
        return (self.key_times.median + (key_interval - 1) * self.nonkey_times.median) / key_interval


def evaluate_clips(
    propagator: Propagator,
    dataset: ClipDataset,
    key_interval: int = 5,
    phases: Phases = "all",
    short_side: int | None = None,
    max_long_side: int | None = None,
    autocast: torch.dtype | None = None,
    progress: ProgressCallback | None = None,
) -> EvaluationResult:
    """Evaluate a network at a fixed key interval.

    Args:
        propagator: the network, on the device where it shall run.
        dataset: clips with labels; frames without one are run but not scored, and those behind a clip's last label are left out.
        key_interval: frames from key frame to key frame.
        phases: ``all`` averages over every position of the key frames; ``first`` has them at 0, k, 2k, ... only (the paper).
        short_side: see :class:`StreamingSegmentor`.
        max_long_side: see :class:`StreamingSegmentor`.
        autocast: see :class:`StreamingSegmentor`.
        progress: told after every frame.

    Raises:
        ValueError: see :func:`evaluate_streams`.
    """
    if phases not in ("all", "first"):
        raise ValueError(f"phases is {phases!r}, expected 'all' or 'first'")
    schedulers = [FixedInterval(key_interval, phase) for phase in range(key_interval if phases == "all" else 1)]
    streams = [StreamingSegmentor(propagator, s, short_side, max_long_side, autocast) for s in schedulers]
    return evaluate_streams(streams, dataset, progress)


def evaluate_streams(
    streams: Sequence[StreamingSegmentor], dataset: ClipDataset, progress: ProgressCallback | None = None
) -> EvaluationResult:
    """Run every stream over every clip and average their scores. Memory does not grow with the clips.

    Args:
        streams: the phases of a method, any schedulers.
        dataset: clips with labels.
        progress: told after every frame.

    Raises:
        ValueError: if there is no stream, no labelled frame, or the network and the data differ in their number of classes.
    """
    if not streams:
        raise ValueError("no stream to evaluate")
    if not any(clip.labelled_frames for clip in dataset.clips):
        raise ValueError(f"{type(dataset).__name__} has no labelled frame in its {len(dataset.clips)} clips: nothing to score")
    classes = streams[0].propagator.segmentor.num_classes
    if classes != dataset.num_classes:
        raise ValueError(
            f"the network knows {classes} classes, the data {dataset.num_classes} ({', '.join(dataset.classes[:5])}, ...)"
        )
    total = len(streams) * sum(_frames_to_run(clip) for clip in dataset.clips)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    scores = _Scores(dataset.num_classes)
    for stream in streams:
        scores.start_phase()
        for clip in range(len(dataset.clips)):
            _run_clip(stream, dataset, clip, scores, advance)
        scores.end_phase()
    frames = sum(len(clip.labelled_frames) for clip in dataset.clips)
    return scores.result(phases=len(streams), frames=frames)


def _run_clip(stream: StreamingSegmentor, dataset: ClipDataset, clip: int, scores: _Scores, advance: Callable[[], None]) -> None:
    state = None
    labelled = set(dataset.clips[clip].labelled_frames)
    for frame in range(_frames_to_run(dataset.clips[clip])):
        image = dataset.read_image(clip, frame)[None]
        started = time.perf_counter()
        maps, state = stream.step(image, state)
        if maps.is_cuda:
            torch.cuda.synchronize(maps.device)
        scores.add_time(time.perf_counter() - started, state.age)
        if frame in labelled:
            label = dataset.read_label(clip, frame)
            scores.add_frame(maps[0].cpu(), label, state.age)
        else:
            scores.end_run()
        advance()
    scores.end_run()


def _frames_to_run(clip: Clip) -> int:
    """Nothing is asked of the frames behind the last label (a third of every Cityscapes snippet)."""
    return max(clip.labelled_frames, default=-1) + 1


class _Scores:
    """Everything that is summed up on the way."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.phase_scores: list[dict[str, Tensor]] = []
        self.by_distance: dict[int, MeanIoU] = {}
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self.start_phase()

    def start_phase(self) -> None:
        # Separate objects for every window length: sharing their sums is a known fault of other codebases.
        self.iou = MeanIoU(self.num_classes)
        self.consistency = [RunningConsistency(window) for window in WINDOWS]

    def add_time(self, seconds: float, age: int) -> None:
        self.seconds[age == 0].append(seconds)

    def add_frame(self, semantic_map: Tensor, label: Tensor, age: int) -> None:
        if semantic_map.shape != label.shape:
            semantic_map = resize_nearest(semantic_map, (label.shape[0], label.shape[1]))
        self.iou.update(semantic_map, label)
        self.by_distance.setdefault(age, MeanIoU(self.num_classes)).update(semantic_map, label)
        for consistency in self.consistency:
            consistency.add(semantic_map, label)

    def end_run(self) -> None:
        """Consistency is over neighbouring frames, so an unlabelled frame ends a run of labelled ones."""
        for consistency in self.consistency:
            consistency.end_clip()

    def end_phase(self) -> None:
        consistency = {f"vc{c.window}": c.compute() for c in self.consistency}
        self.phase_scores.append({**self.iou.compute(), **consistency})

    def result(self, phases: int, frames: int) -> EvaluationResult:
        mean = {name: torch.stack([scores[name] for scores in self.phase_scores]).mean(0) for name in self.phase_scores[0]}
        return EvaluationResult(
            miou=float(mean["miou"]),
            wiou=float(mean["wiou"]),
            video_consistency={window: float(mean[f"vc{window}"]) for window in WINDOWS},
            iou_per_class=tuple(mean["iou_per_class"].tolist()),
            miou_by_distance={age: float(metric.compute()["miou"]) for age, metric in sorted(self.by_distance.items())},
            key_times=StepTimes.of(self.seconds[True]),
            nonkey_times=StepTimes.of(self.seconds[False]),
            phases=phases,
            frames=frames,
        )
