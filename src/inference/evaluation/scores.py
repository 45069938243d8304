"""Scores and step times of a method, accumulated while it runs over clips."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from src.inference.evaluation.fusing import FrameKind
from src.metrics.class_borders import near_class_change
from src.metrics.flicker import FLICKER, Flicker
from src.metrics.grouped_iou import GroupedIoU
from src.metrics.iou import MeanIoU, iou_figures
from src.metrics.temporal_consistency import TemporalConsistency
from src.metrics.video_consistency import VideoConsistency
from src.ops.resize import resize_nearest

WINDOWS = (8, 16)
BORDER_PIXELS = 3
"""Largest distance of a border pixel to another class, pixels of the label."""


@dataclass(frozen=True)
class StepTimes:
    """Wall-clock milliseconds of steps: resizing, networks, warp and post-processing, without reading the file.

    Attributes:
        median, mean, worst: over the frames; quote the median on a shared machine.
        frames: number of timed frames. Where it is 0, all times are NaN.
    """

    median: float
    mean: float
    worst: float
    frames: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> StepTimes:
        """Summarize durations of steps, in seconds."""
        if not seconds:
            return cls(float("nan"), float("nan"), float("nan"), 0)
        return cls(1e3 * median(seconds), 1e3 * fmean(seconds), 1e3 * max(seconds), len(seconds))


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of one method over the clips of a dataset, 0..1, NaN where nothing was scored; means over the runs.

    Attributes:
        miou: mean IoU over the classes present in the labels.
        miou_reference: mean IoU over the classes present in labels or predictions (the published code).
        wiou: frequency-weighted IoU.
        video_consistency: window length -> mVC by the official protocol.
        strict_video_consistency: window length -> mVC by the strict protocol.
        temporal_consistency: share of pixels that agree with the flow-warped previous frame; NaN where it was not measured.
        iou_per_class: K values.
        miou_by_offset: frames since the key frame -> mIoU of all such frames, pixels of all runs in one confusion matrix.
        frames_by_offset: frames since the key frame -> number of scored frames.
        miou_by_position: the same, only of frames in complete intervals of a fixed length k: at position p, the key frame before
            is p frames and the one after k - p frames away.
        frames_by_position: position -> number of scored frames.
        miou_border: mIoU of labelled pixels at most ``BORDER_PIXELS`` from another class, of all runs.
        miou_disoccluded: mIoU of labelled pixels without a source in the key frame before, by the exact flow, of all runs.
        flicker: share of pixels that change from frame to frame, see :class:`src.metrics.flicker.Flicker`.
        confusion: (K, K) int64 pixels of all runs, row = label, column = prediction; (1, 3) for K = 1.
        key_times, nonkey_times: times of key frames and of non-key frames.
        frames_by_kind: kind of frame -> number of frames run.
        runs: number of averaged runs over the clips.
        frames: number of labelled frames in a run.
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
    miou_by_position: dict[int, float]
    frames_by_position: dict[int, int]
    miou_border: float
    miou_disoccluded: float
    flicker: dict[str, float]
    confusion: Tensor
    key_times: StepTimes
    nonkey_times: StepTimes
    frames_by_kind: dict[FrameKind, int]
    runs: int
    frames: int

    @property
    def key_share(self) -> float:
        """Share of key frames among all frames run, 0..1."""
        return self.key_times.frames / (self.key_times.frames + self.nonkey_times.frames)

    def mean_ms(self, key_interval: int | None) -> float:
        """Average the median milliseconds of both kinds over a key interval; ``None`` weights them by the frames run."""
        share = self.key_share if key_interval is None else 1 / key_interval
        if share == 1:
            return self.key_times.median
        return share * self.key_times.median + (1 - share) * self.nonkey_times.median


class Scores:
    """Accumulator of an evaluation over K classes, of a size independent of the clips; ``flicker`` is of the current run."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._groups = GroupedIoU(num_classes)
        self._runs: list[_Run] = []
        self._seconds: dict[bool, list[float]] = {True: [], False: []}
        self._kinds: Counter[FrameKind] = Counter()
        self.start_run()

    def start_run(self) -> None:
        """Start a run over the clips."""
        # Separate objects for every window length: sharing their sums is a known fault of other codebases.
        self._iou = MeanIoU(self.num_classes)
        self._consistency = {f"vc{window}": VideoConsistency(window) for window in WINDOWS}
        self._consistency |= {f"strict_vc{window}": VideoConsistency(window, protocol="strict") for window in WINDOWS}
        self.flicker = Flicker(self.num_classes)

    def add_time(self, seconds: float, kind: FrameKind) -> None:
        """Add the duration of one step."""
        self._seconds[kind.is_key].append(seconds)
        self._kinds[kind] += 1

    def add_frame(
        self,
        semantic_map: Tensor,
        label: Tensor,
        offset: int | None = None,
        position: int | None = None,
        disoccluded: Tensor | None = None,
    ) -> None:
        """Score one labelled frame, the next of its sequence.

        Args:
            semantic_map: (h, w) int64; resized to the label's size, nearest.
            label: (H, W) int64, classes or ``IGNORE_INDEX``.
            offset: frames since the key frame; ``None`` where it is unknown.
            position: the same for a frame of a complete interval of fixed length; ``None`` for others.
            disoccluded: (H, W) bool, pixels without a source in the key frame; ``None`` where it is unknown.
        """
        if semantic_map.shape != label.shape:
            semantic_map = resize_nearest(semantic_map, (label.shape[0], label.shape[1]))
        self._iou.update(semantic_map, label)
        border = near_class_change(label, self.num_classes, BORDER_PIXELS)
        groups = (("offset", offset, None), ("position", position, None), ("border", BORDER_PIXELS, border))
        for kind, number, region in (*groups, ("disoccluded", None if disoccluded is None else 0, disoccluded)):
            if number is not None:
                self._groups.add(kind, number, semantic_map, label, region)
        for consistency in self._consistency.values():
            consistency.update(semantic_map[None], label[None], end_of_clip=False)

    def end_sequence(self) -> None:
        """End a sequence of neighbouring labelled frames, over which consistency is measured."""
        for consistency in self._consistency.values():
            consistency.end_clip()

    def end_run(self, agreement: TemporalConsistency | None = None) -> None:
        """End a run over the clips, with its agreement with flow-warped frames where that was measured."""
        self._runs.append(_Run(self._iou, self._consistency, self.flicker, agreement))

    def result(self, frames: int) -> EvaluationResult:
        """Average the runs; ``frames`` is the number of labelled frames in a run."""
        figures = [run.figures() for run in self._runs]
        mean = {name: torch.stack([scores[name] for scores in figures]).mean(0) for name in figures[0]}
        return EvaluationResult(
            miou=float(mean["miou"]),
            miou_reference=float(mean["miou_reference"]),
            wiou=float(mean["wiou"]),
            video_consistency={window: float(mean[f"vc{window}"]) for window in WINDOWS},
            strict_video_consistency={window: float(mean[f"strict_vc{window}"]) for window in WINDOWS},
            temporal_consistency=float(mean["temporal"]),
            iou_per_class=tuple(mean["iou_per_class"].tolist()),
            miou_by_offset=self._groups.miou("offset"),
            frames_by_offset=self._groups.frame_counts("offset"),
            miou_by_position=self._groups.miou("position"),
            frames_by_position=self._groups.frame_counts("position"),
            miou_border=self._groups.miou("border").get(BORDER_PIXELS, nan),
            miou_disoccluded=self._groups.miou("disoccluded").get(0, nan),
            flicker={name: float(mean[name]) for name in FLICKER},
            confusion=torch.stack([run.iou.confusion for run in self._runs]).sum(0),
            key_times=StepTimes.of(self._seconds[True]),
            nonkey_times=StepTimes.of(self._seconds[False]),
            frames_by_kind=dict(self._kinds),
            runs=len(self._runs),
            frames=frames,
        )

    @staticmethod
    def total(shares: Sequence[Scores]) -> Scores:
        """Sum the scores of disjoint clips, in the first of them.

        Counts are integers, so the sums equal those of one process bit for bit.
        """
        total = shares[0]
        metrics = [[metric for run in share._runs for metric in run.metrics()] for share in shares]
        for same in zip(*metrics, strict=True):
            states = [metric.metric_state for metric in same]
            for name in states[0]:
                setattr(same[0], name, sum(state[name] for state in states))
        total._groups.sum_up([share._groups for share in shares])
        total._kinds = sum((share._kinds for share in shares), Counter())
        total._seconds = {is_key: [value for share in shares for value in share._seconds[is_key]] for is_key in total._seconds}
        return total


class _Run(NamedTuple):
    """Counts of one run over the clips."""

    iou: MeanIoU
    consistency: dict[str, VideoConsistency]
    flicker: Flicker
    agreement: TemporalConsistency | None

    def metrics(self) -> list[Metric]:
        return [self.iou, self.flicker, *self.consistency.values(), *([] if self.agreement is None else [self.agreement])]

    def figures(self) -> dict[str, Tensor]:
        confusion = self.iou.confusion
        reference = iou_figures(confusion, "reference")["miou"]
        absent = torch.tensor(float("nan"), dtype=torch.float64)
        temporal = absent if self.agreement is None else _compute(self.agreement)
        consistency: dict[str, Tensor] = {name: _compute(metric) for name, metric in self.consistency.items()}
        means = {"miou_reference": reference, **consistency, **_compute(self.flicker), "temporal": temporal}
        return {**iou_figures(confusion, "present_in_label"), **means}


def _compute(metric: Metric) -> Any:
    """Compute a metric without torchmetrics' warning about empty metrics (NaN here) and without its own synchronization.

    The counts are already summed by :meth:`Scores.total`; torchmetrics cannot restrict the sum to some processes.
    """
    metric.sync_on_compute = False
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return metric.compute()
