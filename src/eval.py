"""Evaluate methods over clips: ``python -m src.eval checkpoint=<model> data=<name> output=<file.json>``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from src.command_line import quote_path_arguments
from src.data.clips import ClipDataset
from src.data.resizing import short_side_size
from src.inference.evaluation import Phases, ProgressCallback, evaluate_clips
from src.inference.methods import with_method
from src.inference.pictures import write_comparison_video, write_pictures
from src.inference.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.table import Row, check_output, result_row, rich_table, write_table
from src.measure.cost import frame_cost
from src.measure.latency import describe_machine
from src.models.propagator import Propagator
from src.structures import Size
from src.weights.model_folder import load_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """How streams are run.

    Attributes:
        short_side: see :class:`StreamingSegmentor`.
        max_long_side: see :class:`StreamingSegmentor`.
        autocast: see :class:`StreamingSegmentor`.
        phases: see :func:`evaluate_clips`.
    """

    short_side: int | None = None
    max_long_side: int | None = None
    autocast: torch.dtype | None = None
    phases: Phases = "all"


def evaluate_methods(
    methods: dict[str, Propagator],
    dataset: ClipDataset,
    key_intervals: Sequence[int],
    options: RunOptions,
    console: Console | None = None,
) -> list[Row]:
    """One row per method and key interval; ``per_frame`` has one, at key interval 1.

    At key interval 1 nothing is propagated, so all methods share one run.

    Args:
        methods: networks by the names of their methods.
        dataset: clips with labels.
        key_intervals: frames from key frame to key frame.
        options: how to run them.
        console: where progress is shown.

    Raises:
        ValueError: if there is nothing to do.
    """
    jobs = [(name, k) for name in methods for k in ([1] if name == "per_frame" else key_intervals)]
    if not jobs:
        raise ValueError(f"methods {list(methods)} at key intervals {list(key_intervals)}: nothing to evaluate")
    image = dataset.read_image(0, 0)
    size = short_side_size((image.shape[-2], image.shape[-1]), options.short_side, options.max_long_side)
    costs = {name: frame_cost(propagator, size) for name, propagator in methods.items()}
    rows: list[Row] = []
    every_frame = None
    with _progress(console) as progress:
        overall = progress.add_task("all methods", total=len(jobs))
        for name, k in jobs:
            result = every_frame if k == 1 else None
            if result is None:
                task = progress.add_task(f"{name}, k={k}", total=None)
                result = evaluate_clips(
                    methods[name], dataset, k, options.phases, options.short_side, options.max_long_side, options.autocast,
                    _advance(progress, task),
                )  # fmt: skip
                progress.remove_task(task)
            every_frame = result if k == 1 else every_frame
            row = result_row(name, k, result, dataset.classes, costs[name].average(k))
            rows.append({**row, **_conditions(methods[name], size, options)})
            progress.advance(overall)
    return rows


def draw_methods(
    methods: dict[str, Propagator],
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
    with _progress(console) as progress:
        if overlay is not None:
            task = progress.add_task(f"overlay {overlay.name}", total=None)
            titled = {name if name == "per_frame" else f"{name}, k={key_interval}": stream for name, stream in streams.items()}
            write_comparison_video(titled, dataset, 0, overlay, _advance(progress, task))
        if pictures is not None:
            drawn = progress.add_task("pictures", total=None)
            lag = max(1, key_interval - 1)
            write_pictures(streams, dataset, pictures, lag, 4, _advance(progress, drawn))


def evaluate(cfg: DictConfig) -> list[Row]:
    """Everything that ``conf/eval.yaml`` describes; whatever cannot be done is refused before anything is computed.

    Args:
        cfg: the composed configuration.

    Returns:
        The rows that were written.

    Raises:
        FileExistsError: if something would be overwritten unasked.
        ValueError: if the model cannot do a method, there is no clip, or model and data have different classes.
    """
    # In a log file nothing says how wide the page is, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120)
    output = check_output(cfg.output, cfg.overwrite)
    overlay, pictures = _new_path(cfg.overlay, cfg.overwrite), _new_path(cfg.pictures, cfg.overwrite)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
        cv2.setNumThreads(cfg.threads)
    options = RunOptions(cfg.short_side, cfg.max_long_side, _dtype(cfg.autocast), cfg.phases)
    intervals = [FixedInterval(k).key_interval for k in cfg.key_intervals]
    propagator, metadata = load_model(cfg.checkpoint, _device(cfg.device))
    methods = {name: with_method(propagator, name) for name in cfg.methods}
    dataset: ClipDataset = instantiate(cfg.data.test)
    if cfg.max_clips is not None:
        dataset.clips = dataset.clips[: cfg.max_clips]
    if not dataset.clips:
        raise ValueError(f"{cfg.data.name}: no clip to evaluate (max_clips={cfg.max_clips})")
    check_classes(metadata, dataset)
    rows = evaluate_methods(methods, dataset, intervals, options, console)
    rows = [{**row, "data": cfg.data.name, "checkpoint": str(cfg.checkpoint)} for row in rows]
    written = write_table(rows, output)
    first = rows[0]
    console.print(rich_table(rows, f"{cfg.data.name} at {first['input_size']}, {first['device']}, {first['precision']}"))
    draw_methods(methods, dataset, options, cfg.picture_interval, overlay, pictures, console)
    for path in (*written, overlay, pictures):
        if path is not None:
            log.info("written: %s", path)
    return rows


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


def _conditions(propagator: Propagator, size: Size, options: RunOptions) -> Row:
    machine = describe_machine(next(propagator.parameters()).device)
    return {
        "input_size": f"{size[0]}x{size[1]}",
        "device": machine["device"],
        "threads": machine["threads"],
        "precision": "float32" if options.autocast is None else str(options.autocast).removeprefix("torch."),
    }


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _dtype(name: str | None) -> torch.dtype | None:
    known = {None: None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"autocast is {name!r}, expected null, bfloat16 or float16")
    return known[name]


def _new_path(name: str | None, overwrite: bool) -> Path | None:
    if name is None:
        return None
    path = Path(name)
    if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} exists already: name another one or set overwrite=true")
    return path


def _advance(progress: Progress, task: TaskID) -> ProgressCallback:
    return lambda done, total: progress.update(task, completed=done, total=total)


def _progress(console: Console | None) -> AbstractContextManager[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


@hydra.main(version_base="1.3", config_path="../conf", config_name="eval")
def main(cfg: DictConfig) -> None:
    """Evaluate, print the table and write it."""
    evaluate(cfg)


if __name__ == "__main__":
    quote_path_arguments()
    main()
