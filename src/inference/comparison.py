"""Several methods over the same clips: their results, and what they look like side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from src.data.clips import ClipDataset
from src.inference.evaluation import MapSink, Phases, evaluate_clips
from src.inference.pictures import write_comparison_video, write_pictures
from src.inference.progress import advance, progress_bars
from src.inference.ranks import ALONE, Ranks
from src.inference.scheduler import FixedInterval
from src.inference.scores import EvaluationResult
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
    """

    short_side: int | None = None
    max_long_side: int | None = None
    autocast: torch.dtype | None = None
    phases: Phases = "all"
    temporal_consistency: bool = False


@dataclass(frozen=True)
class MethodResult:
    """What one method scored.

    Attributes:
        method: its name.
        key_interval: frames from key frame to key frame; ``None`` where it is not known.
        result: the scores.
    """

    method: str
    key_interval: int | None
    result: EvaluationResult

    @property
    def title(self) -> str:
        """For people."""
        return self.method if self.key_interval is None else f"{self.method}, k={self.key_interval}"

    @property
    def key(self) -> str:
        """For file names and log keys."""
        return self.method if self.key_interval is None else f"{self.method}_k{self.key_interval}"


def jobs(methods: Sequence[str], key_intervals: Sequence[int]) -> list[tuple[str, int]]:
    """Which method runs at which key interval; ``per_frame`` runs once, at 1.

    Raises:
        ValueError: if there is nothing to do.
    """
    pairs = [(name, k) for name in methods for k in ([1] if name == "per_frame" else key_intervals)]
    if not pairs:
        raise ValueError(f"methods {list(methods)} at key intervals {list(key_intervals)}: nothing to evaluate")
    return pairs


def evaluate_methods(
    methods: Mapping[str, Propagator],
    dataset: ClipDataset,
    key_intervals: Sequence[int],
    options: RunOptions,
    console: Console | None = None,
    sink: MapSink | None = None,
    ranks: Ranks = ALONE,
) -> list[MethodResult]:
    """One result per method and key interval; ``per_frame`` has one, at key interval 1.

    At key interval 1 nothing is propagated, so all methods share one run.

    Args:
        methods: networks by the names of their methods.
        dataset: clips with labels.
        key_intervals: frames from key frame to key frame.
        options: how to run them.
        console: where progress is shown.
        sink: gets the maps of the first job, key frames at 0, k, 2k, ...; see :func:`evaluate_clips`.
        ranks: processes over which the clips are spread.

    Raises:
        ValueError: if there is nothing to do, or see :func:`evaluate_clips`.
    """
    results: list[MethodResult] = []
    every_frame = None
    pairs = jobs(list(methods), key_intervals)
    with progress_bars(console) as progress:
        overall = progress.add_task("all methods", total=len(pairs))
        for number, (name, k) in enumerate(pairs):
            result = every_frame if k == 1 else None
            if result is None:
                task = progress.add_task(f"{name}, k={k}", total=None)
                result = evaluate_clips(
                    methods[name], dataset, k, options.phases, options.short_side, options.max_long_side, options.autocast,
                    advance(progress, task), options.temporal_consistency, None if number else sink, ranks,
                )  # fmt: skip
                progress.remove_task(task)
            every_frame = result if k == 1 else every_frame
            results.append(MethodResult(name, k, result))
            progress.advance(overall)
    return results


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
            lag = max(1, key_interval - 1)
            write_pictures(streams, dataset, pictures, lag, 4, advance(progress, drawn))


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
