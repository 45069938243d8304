"""What is summed up while a method runs over clips, and what comes of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from src.inference.distributed import SINGLE, World
from src.metrics.iou import MeanIoU, iou_figures
from src.metrics.offset_iou import IoUByOffset
from src.metrics.temporal_consistency import TemporalConsistency
from src.metrics.video_consistency import VideoConsistency
from src.ops.resize import resize_nearest

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
        miou_reference: the same over classes in labels or predictions (the reference's rule).
        wiou: frequency-weighted IoU, mean over the phases.
        video_consistency: window length -> mVC by the official protocol, mean over the phases.
        strict_video_consistency: window length -> mVC by the strict protocol, mean over the phases.
        temporal_consistency: share of pixels that agree with the flow-warped frame before, mean over the phases; NaN where
            it was not asked for.
        iou_per_class: K values, mean over the phases.
        miou_by_offset: frames since the key frame -> mIoU of all such frames, of all phases together.
        frames_by_offset: frames since the key frame -> labelled frames scored.
        confusion: (K, K) int64 pixels of all phases, row = label, column = prediction.
        key_times: of the key frames.
        nonkey_times: of the frames between.
        rejected: key frames whose propagation was computed first and thrown away, of all phases.
        phases: how many runs over the clips were averaged.
        frames: how many labelled frames there are to score in a run.
    """

    miou: float
    miou_reference: float
    wiou: float
    video_consistency: dict[int, float]
    strict_video_consistency: dict[int, float]
    temporal_consistency: float
    iou_per_class: tuple[float, ...]
    miou_by_offset: dict[int, float]
    frames_by_offset: dict[int, int]
    confusion: Tensor
    key_times: StepTimes
    nonkey_times: StepTimes
    rejected: int
    phases: int
    frames: int

    @property
    def key_share(self) -> float:
        """Share of key frames among all frames that were run, 0..1."""
        return self.key_times.frames / (self.key_times.frames + self.nonkey_times.frames)

    def mean_ms(self, key_interval: int | None) -> float:
        """Milliseconds per frame from the medians: over one interval, or, for ``None``, over the frames that were run."""
        share = self.key_share if key_interval is None else 1 / key_interval
        if share == 1:
            return self.key_times.median
        return share * self.key_times.median + (1 - share) * self.nonkey_times.median


class Scores:
    """Everything that is summed up on the way; its size does not grow with the clips.

    Args:
        num_classes: K.
        num_offsets: frames that lie at most between a frame and its key frame, plus one.
    """

    def __init__(self, num_classes: int, num_offsets: int = 1) -> None:
        self.num_classes = num_classes
        self.by_offset = IoUByOffset(num_classes, num_offsets)
        self._phases: list[_Phase] = []
        self._seconds: dict[bool, list[float]] = {True: [], False: []}
        self._rejected = 0
        self.start_phase()

    def start_phase(self) -> None:
        """A new run over the clips."""
        # Separate objects for every window length: sharing their sums is a known fault of other codebases.
        self._iou = MeanIoU(self.num_classes)
        self._consistency = {f"vc{window}": VideoConsistency(window) for window in WINDOWS}
        self._consistency |= {f"strict_vc{window}": VideoConsistency(window, protocol="strict") for window in WINDOWS}

    def add_time(self, seconds: float, is_key: bool, rejected: bool = False) -> None:
        """How long one step took, and whether a propagation was thrown away in it."""
        self._seconds[is_key].append(seconds)
        self._rejected += rejected

    def add_frame(self, semantic_map: Tensor, label: Tensor, offset: int | None = None) -> None:
        """One labelled frame, the next of its run.

        Args:
            semantic_map: (h, w) int64; brought to the label's size.
            label: (H, W) int64, classes or ``IGNORE_INDEX``.
            offset: frames since the key frame; ``None`` where it is not known.
        """
        if semantic_map.shape != label.shape:
            semantic_map = resize_nearest(semantic_map, (label.shape[0], label.shape[1]))
        self._iou.update(semantic_map, label)
        if offset is not None:
            self.by_offset.update(semantic_map, label, offset)
        for consistency in self._consistency.values():
            consistency.update(semantic_map[None], label[None], end_of_clip=False)

    def end_run(self) -> None:
        """Consistency is over neighbouring frames, so an unlabelled frame ends a run of labelled ones."""
        for consistency in self._consistency.values():
            consistency.end_clip()

    def end_phase(self, agreement: TemporalConsistency | None = None) -> None:
        """All clips have been run over.

        Args:
            agreement: what was compared with the flow-warped frame before, where that was asked for.
        """
        self._phases.append(_Phase(self._iou, self._consistency, agreement))

    def result(self, frames: int, world: World = SINGLE) -> EvaluationResult:
        """The means over the phases.

        Args:
            frames: labelled frames of a run, of all clips.
            world: whose clips count: those of every process, each of which must call this once.
        """
        self._add_up(world)
        figures = [phase.figures() for phase in self._phases]
        mean = {name: torch.stack([scores[name] for scores in figures]).mean(0) for name in figures[0]}
        # torchmetrics makes a scalar of a single value.
        by_offset = _compute(self.by_offset)["miou_by_offset"].reshape(-1).tolist()
        frames_by_offset = {d: count for d, count in enumerate(self.by_offset.frames.tolist()) if count}
        return EvaluationResult(
            miou=float(mean["miou"]),
            miou_reference=float(mean["miou_reference"]),
            wiou=float(mean["wiou"]),
            video_consistency={window: float(mean[f"vc{window}"]) for window in WINDOWS},
            strict_video_consistency={window: float(mean[f"strict_vc{window}"]) for window in WINDOWS},
            temporal_consistency=float(mean["temporal"]),
            iou_per_class=tuple(mean["iou_per_class"].tolist()),
            miou_by_offset={offset: by_offset[offset] for offset in frames_by_offset},
            frames_by_offset=frames_by_offset,
            confusion=torch.stack([phase.iou.confusion for phase in self._phases]).sum(0),
            key_times=StepTimes.of(self._seconds[True]),
            nonkey_times=StepTimes.of(self._seconds[False]),
            rejected=self._rejected,
            phases=len(self._phases),
            frames=frames,
        )

    def _add_up(self, world: World) -> None:
        """Sum what the processes counted. Counts are whole numbers, so the sums are those of one process, bit for bit."""
        metrics = [self.by_offset, *(metric for phase in self._phases for metric in phase.metrics())]
        counts = world.gather(([metric.metric_state for metric in metrics], self._seconds, self._rejected))
        for number, metric in enumerate(metrics):
            for name in metric.metric_state:
                setattr(metric, name, sum(states[number][name] for states, _, _ in counts))
        self._seconds = {is_key: [value for _, seconds, _ in counts for value in seconds[is_key]] for is_key in self._seconds}
        self._rejected = sum(rejected for _, _, rejected in counts)


class _Phase(NamedTuple):
    """The counts of one run over the clips."""

    iou: MeanIoU
    consistency: dict[str, VideoConsistency]
    agreement: TemporalConsistency | None

    def metrics(self) -> list[Metric]:
        return [self.iou, *self.consistency.values(), *([] if self.agreement is None else [self.agreement])]

    def figures(self) -> dict[str, Tensor]:
        confusion = self.iou.confusion
        reference = iou_figures(confusion, "reference")["miou"]
        nothing = torch.tensor(float("nan"), dtype=torch.float64)
        temporal = nothing if self.agreement is None else _compute(self.agreement)
        consistency: dict[str, Tensor] = {name: _compute(metric) for name, metric in self.consistency.items()}
        return {**iou_figures(confusion, "present_in_label"), "miou_reference": reference, **consistency, "temporal": temporal}


def _compute(metric: Metric) -> Any:
    """A metric's value; torchmetrics warns where nothing was added, and here NaN says so.

    It would also add up the processes' counts by itself; but it has no say in which processes take part.
    """
    metric.sync_on_compute = False
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return metric.compute()
