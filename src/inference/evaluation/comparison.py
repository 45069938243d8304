"""Comparison of methods over the same clips: scores, videos and pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.console import Console

from src.data.clips import ClipDataset
from src.inference.distributed import SINGLE, Share
from src.inference.evaluation.clips import EvaluationOptions, MapCallback, evaluate_clips, evaluate_streams
from src.inference.evaluation.fusing import PLAIN, Fusing
from src.inference.evaluation.pictures import write_comparison_video, write_pictures
from src.inference.evaluation.progress import ProgressBars, advance
from src.inference.evaluation.scores import EvaluationResult, Scores
from src.inference.methods import EVERY_FRAME
from src.inference.scheduling.scheduler import FixedInterval, KeyFrameScheduler
from src.inference.streaming import StreamingSegmentor
from src.models.propagator import Propagator
from src.visualization.palette import PaletteChoice


@dataclass(frozen=True)
class MethodResult:
    """Scores of one method, scheduler and fusion; ``key_interval`` (frames) is ``None`` where it is unknown."""

    method: str
    key_interval: int | None
    result: EvaluationResult
    scheduler: str = "fixed"
    fusing: Fusing = PLAIN

    @property
    def title(self) -> str:
        """Title in tables and pictures."""
        return ", ".join(self._words("k="))

    @property
    def key(self) -> str:
        """Identifier in file names and log keys."""
        return "_".join(self._words("k")).replace(" ", "_")

    @property
    def curve(self) -> str:
        """Name of the results of all key intervals."""
        return ", ".join([self.method, *self.fusing.words])

    def _words(self, k: str) -> list[str]:
        scheduler = [] if self.scheduler == "fixed" else [self.scheduler]
        interval = [] if self.key_interval is None else [f"{k}{self.key_interval}"]
        return [self.method, *self.fusing.words, *scheduler, *interval]


class Job(NamedTuple):
    """One evaluation over the clips; ``key_interval`` is the requested one, in frames."""

    method: str
    scheduler: str
    key_interval: int
    fusing: Fusing = PLAIN

    @property
    def title(self) -> str:
        """Title in progress lines and lists."""
        return ", ".join([self.method, *self.fusing.words, self.scheduler, f"k={self.key_interval}"])

    @property
    def segments_every_frame(self) -> bool:
        """True where nothing is propagated, and frames do not depend on earlier ones."""
        return self.key_interval == 1 and not self.fusing.fuse_keys and self.method != "videomt"


SchedulerMaker = Callable[[Job, float], KeyFrameScheduler]
"""Makes a scheduler for a job and an interval shift (0..1, see :class:`src.inference.scheduling.adaptive.Adaptive`)."""


def jobs(
    methods: Sequence[str],
    key_intervals: Sequence[int],
    schedulers: Sequence[str] = ("fixed",),
    fusings: Sequence[Fusing] = (PLAIN,),
) -> list[Job]:
    """List the evaluations of every method with every fusion and scheduler at every key interval.

    The methods of ``EVERY_FRAME`` run once, without fusion, at key interval 1, where only the scheduler ``fixed`` applies.

    Raises:
        ValueError: if the list is empty.
    """
    found = [
        Job(name, scheduler, k, fusing)
        for name in methods
        for fusing in ([PLAIN] if name in EVERY_FRAME else fusings)
        for scheduler in (["fixed"] if name in EVERY_FRAME else schedulers)
        for k in ([1] if name in EVERY_FRAME else key_intervals)
        if scheduler == "fixed" or k > 1
    ]
    if not found:
        requested = f"methods {list(methods)} with schedulers {list(schedulers)} at key intervals {list(key_intervals)}"
        raise ValueError(f"{requested}: nothing to evaluate; expected at least one of each")
    return found


def evaluate_methods(
    methods: Mapping[str, Propagator],
    dataset: ClipDataset,
    key_intervals: Sequence[int],
    options: EvaluationOptions,
    console: Console | None = None,
    on_semantic_map: MapCallback | None = None,
    schedulers: Mapping[str, SchedulerMaker | None] = MappingProxyType({"fixed": None}),
    fusings: Sequence[Fusing] = (PLAIN,),
    share_of: Callable[[int], Share[Scores]] = lambda number: SINGLE.share,
    only: int | None = None,
) -> Iterator[MethodResult]:
    """Evaluate every job of :func:`jobs`, in that order, and yield each result when it is complete.

    At key interval 1 nothing is propagated unless key frames are fused, so all methods share one run.

    Args:
        methods: networks by the names of their methods.
        dataset: clips with labels.
        key_intervals: frames from key frame to key frame.
        options: protocol, image size and precision; its ``fusing`` is replaced.
        console: console of the progress bars.
        on_semantic_map: receives the maps of the first job, key frames at 0, k, 2k, ...; see :func:`evaluate_streams`.
        schedulers: factories by name; ``None`` for ``fixed``, whose schedulers :func:`evaluate_clips` makes.
        fusings: settings of mode and fusion.
        share_of: returns the division of the clips, for the job of a number.
        only: number of the only job to evaluate; ``None`` for all.
    """
    every_frame = None
    todo = jobs(list(methods), key_intervals, list(schedulers), fusings)
    with ProgressBars(console) as progress:
        overall = progress.add_task("all methods", total=len(todo), unit="results")
        for number, job in enumerate(todo):
            if only not in (None, number):
                continue
            result = every_frame if job.segments_every_frame else None
            if result is None:
                task = progress.add_task(f"{number + 1} of {len(todo)}: {job.title}", total=None)
                callback, maps = advance(progress, task), None if number else on_semantic_map
                network, make = methods[job.method], schedulers[job.scheduler] if job.method not in EVERY_FRAME else None
                settings, share = replace(options, fusing=job.fusing), share_of(number)
                if make is None:
                    result = evaluate_clips(network, dataset, job.key_interval, settings, callback, maps, share)
                else:
                    streams = _scheduled_streams(network, job, make, settings)
                    result = evaluate_streams(
                        streams, dataset, callback, options.temporal_consistency, maps, share, options.disoccluded
                    )
                progress.remove_task(task)
            every_frame = result if job.segments_every_frame else every_frame
            progress.advance(overall)
            yield MethodResult(job.method, job.key_interval, result, job.scheduler, job.fusing)


def _scheduled_streams(
    propagator: Propagator, job: Job, make: SchedulerMaker, options: EvaluationOptions
) -> list[StreamingSegmentor]:
    if options.protocol == "pairs":
        raise ValueError(f"protocol is 'pairs', which fixes the key frames; expected schedulers=[fixed], found {job.scheduler!r}")
    runs = 1 if options.key_frame_offsets == "first" else options.interval_shifts
    return [options.stream(propagator, make(job, number / runs)) for number in range(runs)]


def draw_methods(
    methods: Mapping[str, Propagator],
    dataset: ClipDataset,
    options: EvaluationOptions,
    key_interval: int,
    overlay: Path | None,
    pictures: Path | None,
    console: Console | None = None,
    fusings: Sequence[Fusing] = (PLAIN,),
    choice: PaletteChoice = "names",
) -> None:
    """Write the overlay mp4 of the first clip and the folder of pictures of single frames, where their paths are given."""
    streams = {
        ", ".join([job.method, *job.fusing.words]): replace(options, fusing=job.fusing).stream(
            methods[job.method], FixedInterval(job.key_interval)
        )
        for job in jobs(list(methods), [key_interval], fusings=fusings)
    }
    with ProgressBars(console) as progress:
        if overlay is not None:
            task = progress.add_task(f"overlay {overlay.name}", total=None)
            titled = {name if name in EVERY_FRAME else f"{name}, k={key_interval}": stream for name, stream in streams.items()}
            write_comparison_video(titled, dataset, 0, overlay, advance(progress, task), choice)
        if pictures is not None:
            drawn = progress.add_task("pictures", total=None)
            write_pictures(streams, dataset, pictures, max(1, key_interval - 1), 4, advance(progress, drawn), choice)


def check_classes(metadata: dict[str, Any], dataset: ClipDataset) -> None:
    """Raise a ``ValueError`` if the class names of the model differ from those of the data, in name or order."""
    known = metadata.get("classes")
    if known is None or tuple(known) == tuple(dataset.classes):
        return
    if len(known) != len(dataset.classes):
        raise ValueError(f"the model has {len(known)} classes, the data {len(dataset.classes)}; expected the same ones")
    where = next(i for i, (a, b) in enumerate(zip(known, dataset.classes, strict=True)) if a != b)
    raise ValueError(
        f"class {where} is {known[where]!r} in the model and {dataset.classes[where]!r} in the data; expected the same one"
    )
