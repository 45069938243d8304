"""Several methods over the same clips: their results, and what they look like side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from rich.console import Console

from src.data.clips import ClipDataset
from src.inference.distributed import SINGLE, World
from src.inference.evaluation.clips import MapSink, Phases, ProgressCallback, evaluate_clips, evaluate_streams
from src.inference.evaluation.pictures import write_comparison_video, write_pictures
from src.inference.evaluation.progress import advance, progress_bars
from src.inference.evaluation.scores import EvaluationResult
from src.inference.scheduling.scheduler import FixedInterval, KeyFrameScheduler
from src.inference.streaming import StreamingSegmentor
from src.models.propagator import Propagator


@dataclass(frozen=True)
class RunOptions:
    """How streams are run.

    Attributes:
        short_side: see :class:`StreamingSegmentor`.
        max_long_side: see :class:`StreamingSegmentor`.
        autocast: see :class:`StreamingSegmentor`.
        phases: see :func:`evaluate_clips`.
        temporal_consistency: see :func:`evaluate_clips`.
        interval_shifts: for schedulers other than ``fixed``: runs whose first intervals are shortened evenly, averaged; 1 where
            phases is ``first``.
    """

    short_side: int | None = None
    max_long_side: int | None = None
    autocast: torch.dtype | None = None
    phases: Phases = "all"
    temporal_consistency: bool = False
    interval_shifts: int = 5


@dataclass(frozen=True)
class MethodResult:
    """What one method scored.

    Attributes:
        method: its name.
        key_interval: frames from key frame to key frame; ``None`` where it is not known.
        result: the scores.
        scheduler: name of what chose the key frames.
    """

    method: str
    key_interval: int | None
    result: EvaluationResult
    scheduler: str = "fixed"

    @property
    def title(self) -> str:
        """For people."""
        scheduled = self.method if self.scheduler == "fixed" else f"{self.method}, {self.scheduler}"
        return scheduled if self.key_interval is None else f"{scheduled}, k={self.key_interval}"

    @property
    def key(self) -> str:
        """For file names and log keys."""
        scheduled = self.method if self.scheduler == "fixed" else f"{self.method}_{self.scheduler}"
        return scheduled if self.key_interval is None else f"{scheduled}_k{self.key_interval}"


class Job(NamedTuple):
    """One run over the clips.

    Attributes:
        method: its name.
        scheduler: name of what chooses the key frames.
        key_interval: frames from key frame to key frame, asked for.
    """

    method: str
    scheduler: str
    key_interval: int


SchedulerMaker = Callable[[Job, float], KeyFrameScheduler]
"""Makes a scheduler for a job and a head start (0..1, see :class:`src.inference.scheduling.adaptive.Adaptive`)."""


def jobs(methods: Sequence[str], key_intervals: Sequence[int], schedulers: Sequence[str] = ("fixed",)) -> list[Job]:
    """Which method runs with which scheduler at which key interval.

    ``per_frame`` runs once, at 1; there no other scheduler than ``fixed`` has anything to choose.

    Raises:
        ValueError: if there is nothing to do.
    """
    found = [
        Job(name, scheduler, k)
        for name in methods
        for scheduler in (["fixed"] if name == "per_frame" else schedulers)
        for k in ([1] if name == "per_frame" else key_intervals)
        if scheduler == "fixed" or k > 1
    ]
    if not found:
        asked = f"methods {list(methods)} with schedulers {list(schedulers)} at key intervals {list(key_intervals)}"
        raise ValueError(f"{asked}: nothing to evaluate")
    return found


def evaluate_methods(
    methods: Mapping[str, Propagator],
    dataset: ClipDataset,
    key_intervals: Sequence[int],
    options: RunOptions,
    console: Console | None = None,
    sink: MapSink | None = None,
    schedulers: Mapping[str, SchedulerMaker | None] = MappingProxyType({"fixed": None}),
    world: World = SINGLE,
) -> list[MethodResult]:
    """One result per method, scheduler and key interval, in the order of :func:`jobs`; ``per_frame`` has one, at key interval 1.

    At key interval 1 nothing is propagated, so all methods share one run.

    Args:
        methods: networks by the names of their methods.
        dataset: clips with labels.
        key_intervals: frames from key frame to key frame.
        options: how to run them.
        console: where progress is shown.
        sink: gets the maps of the first job, key frames at 0, k, 2k, ...; see :func:`evaluate_clips`.
        schedulers: by name, what makes one; ``None`` for ``fixed``, which :func:`evaluate_clips` makes itself.
        world: processes over which the clips are spread.

    Raises:
        ValueError: if there is nothing to do, or see :func:`evaluate_clips`.
    """
    results: list[MethodResult] = []
    every_frame = None
    todo = jobs(list(methods), key_intervals, list(schedulers))
    with progress_bars(console) as progress:
        overall = progress.add_task("all methods", total=len(todo))
        for number, job in enumerate(todo):
            result = every_frame if job.key_interval == 1 else None
            if result is None:
                task = progress.add_task(f"{job.method}, {job.scheduler}, k={job.key_interval}", total=None)
                told, maps = advance(progress, task), None if number else sink
                make = schedulers[job.scheduler] if job.method != "per_frame" else None
                result = _evaluate(methods[job.method], dataset, job, make, options, told, maps, world)
                progress.remove_task(task)
            every_frame = result if job.key_interval == 1 else every_frame
            results.append(MethodResult(job.method, job.key_interval, result, job.scheduler))
            progress.advance(overall)
    return results


def _evaluate(
    propagator: Propagator,
    dataset: ClipDataset,
    job: Job,
    make: SchedulerMaker | None,
    options: RunOptions,
    progress: ProgressCallback,
    sink: MapSink | None,
    world: World,
) -> EvaluationResult:
    network = (options.short_side, options.max_long_side, options.autocast)
    if make is None:
        return evaluate_clips(
            propagator, dataset, job.key_interval, options.phases, *network, progress, options.temporal_consistency, sink, world
        )
    if options.phases == "offsets":
        raise ValueError(
            f"phases is 'offsets', which sees two frames of a clip: scheduler {job.scheduler!r} has nothing to choose"
        )
    runs = 1 if options.phases == "first" else options.interval_shifts
    streams = [StreamingSegmentor(propagator, make(job, number / runs), *network) for number in range(runs)]
    return evaluate_streams(streams, dataset, progress, None, options.temporal_consistency, sink, world)


def draw_methods(
    methods: Mapping[str, Propagator],
    dataset: ClipDataset,
    options: RunOptions,
    key_interval: int,
    overlay: Path | None,
    pictures: Path | None,
    console: Console | None = None,
) -> None:
    """The overlay video of the first clip and pictures of single frames, where asked for.

    Args:
        methods: networks by the names of their methods.
        dataset: clips with labels.
        options: how to run them.
        key_interval: of all methods but ``per_frame``.
        overlay: mp4 to write.
        pictures: folder to write PNG files to.
        console: where progress is shown.
    """
    streams = {
        name: StreamingSegmentor(
            propagator,
            FixedInterval(1 if name == "per_frame" else key_interval),
            options.short_side,
            options.max_long_side,
            options.autocast,
        )
        for name, propagator in methods.items()
    }
    with progress_bars(console) as progress:
        if overlay is not None:
            task = progress.add_task(f"overlay {overlay.name}", total=None)
            titled = {name if name == "per_frame" else f"{name}, k={key_interval}": stream for name, stream in streams.items()}
            write_comparison_video(titled, dataset, 0, overlay, advance(progress, task))
        if pictures is not None:
            drawn = progress.add_task("pictures", total=None)
            offset = max(1, key_interval - 1)
            write_pictures(streams, dataset, pictures, offset, 4, advance(progress, drawn))


def check_classes(metadata: dict[str, Any], dataset: ClipDataset) -> None:
    """Refuse to score a model on classes that it was not trained for.

    Raises:
        ValueError: if the model says its class names and the data has others, or another order.
    """
    known = metadata.get("classes")
    if known is None or tuple(known) == tuple(dataset.classes):
        return
    if len(known) != len(dataset.classes):
        raise ValueError(f"the model was trained for {len(known)} classes, the data has {len(dataset.classes)}")
    where = next(i for i, (a, b) in enumerate(zip(known, dataset.classes, strict=True)) if a != b)
    raise ValueError(f"class {where} is {known[where]!r} in the model and {dataset.classes[where]!r} in the data")
