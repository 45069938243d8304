"""Evaluate methods, or prediction files, over clips.

``python -m src.eval checkpoint=<model> data=<name> output=<file.json>``
``python -m src.eval predictions=<folder> data=<name> output=<file.json>``
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import hydra
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.command_line import quote_path_arguments
from src.data.clips import ClipDataset
from src.data.resizing import short_side_size
from src.inference.comparison import MethodResult, RunOptions, draw_methods, evaluate_methods, jobs
from src.inference.methods import with_method
from src.inference.prediction_files import PredictionFolder, evaluate_predictions
from src.inference.progress import advance, progress_bars
from src.inference.report import class_tables, write_report
from src.inference.scheduler import FixedInterval
from src.inference.table import Row, check_output, prediction_row, prediction_table, result_row, rich_table, write_table
from src.measure.cost import frame_cost
from src.measure.latency import describe_machine
from src.measure.machine import autocast_named, device_named
from src.models.propagator import Propagator
from src.structures import Size
from src.weights.model_folder import load_model

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> list[Row]:
    """Everything that ``conf/eval.yaml`` describes; whatever cannot be done is refused before anything is computed.

    Args:
        cfg: the composed configuration.

    Returns:
        The rows that were written; of prediction files, one.

    Raises:
        FileExistsError: if something would be overwritten unasked.
        FileNotFoundError: if a prediction file is missing.
        ValueError: if the model cannot do a method, there is no clip, model and data have different classes, or options
            contradict one another.
    """
    # In a log file nothing says how wide the page is, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120)
    output = check_output(cfg.output, cfg.overwrite)
    report = _new_path(cfg.report, cfg.overwrite)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
        cv2.setNumThreads(cfg.threads)
    if cfg.predictions is None:
        rows, results, dataset = _evaluate_model(cfg, output, console)
    else:
        rows, results, dataset = _evaluate_predictions(cfg, output, console)
    files: dict[str, Path] = {}
    if report is not None:
        files = write_report(results, dataset.classes, report)
        for table in class_tables(results, dataset.classes):
            console.print(table)
        log.info("written: %s", report)
    for logger in cfg.logger.values():
        log_results(instantiate(logger), rows, results, dataset.classes, files)
    return rows


def _evaluate_model(cfg: DictConfig, output: Path, console: Console) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    overlay, pictures = _new_path(cfg.overlay, cfg.overwrite), _new_path(cfg.pictures, cfg.overwrite)
    saved = _new_path(cfg.save_predictions, cfg.overwrite)
    options = RunOptions(cfg.short_side, cfg.max_long_side, autocast_named(cfg.autocast), cfg.phases, cfg.temporal_consistency)
    intervals = [FixedInterval(k).key_interval for k in cfg.key_intervals]
    pairs = jobs(cfg.methods, intervals)
    if saved is not None and len(pairs) > 1:
        raise ValueError(
            f"save_predictions writes one result, and {len(pairs)} were asked for ({', '.join(f'{m} k={k}' for m, k in pairs)}): "
            'name one method and one key interval, e.g. "methods=[query]" "key_intervals=[5]"'
        )
    propagator, metadata = load_model(cfg.checkpoint, device_named(cfg.device))
    methods = {name: with_method(propagator, name) for name in cfg.methods}
    dataset = _dataset(cfg)
    check_classes(metadata, dataset)
    image = dataset.read_image(0, 0)
    size = short_side_size((image.shape[-2], image.shape[-1]), options.short_side, options.max_long_side)
    costs = {name: frame_cost(method, size) for name, method in methods.items()}
    sink = None if saved is None else PredictionFolder(saved, dataset).write
    results = evaluate_methods(methods, dataset, intervals, options, console, sink)
    rows: list[Row] = []
    for one, (name, k) in zip(results, pairs, strict=True):
        row = result_row(name, k, one.result, dataset.classes, costs[name].average(k))
        conditions = _conditions(methods[name], size, options)
        rows.append({**row, **conditions, "data": cfg.data.name, "checkpoint": str(cfg.checkpoint)})
    written = write_table(rows, output)
    first = rows[0]
    console.print(rich_table(rows, f"{cfg.data.name} at {first['input_size']}, {first['device']}, {first['precision']}"))
    draw_methods(methods, dataset, options, cfg.picture_interval, overlay, pictures, console)
    for path in (*written, overlay, pictures, saved):
        if path is not None:
            log.info("written: %s", path)
    return rows, results, dataset


def _evaluate_predictions(cfg: DictConfig, output: Path, console: Console) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    for name in ("checkpoint", "overlay", "pictures", "save_predictions"):
        if not OmegaConf.is_missing(cfg, name) and cfg[name] is not None:
            raise ValueError(f"{name}={cfg[name]} is for a model, and predictions={cfg.predictions} are files: leave one out")
    dataset = _dataset(cfg)
    predictions = PredictionFolder(cfg.predictions, dataset)
    with progress_bars(console) as progress:
        task = progress.add_task("predictions", total=None)
        result = evaluate_predictions(predictions, advance(progress, task), cfg.temporal_consistency)
    row = prediction_row(result, dataset.classes, len(dataset.clips))
    row = {**row, "data": cfg.data.name, "predictions": str(cfg.predictions)}
    for path in write_table(row, output):
        log.info("written: %s", path)
    console.print(prediction_table(row, f"{cfg.predictions}: {row['frames']} frames of {row['clips']} clips of {cfg.data.name}"))
    return [row], [MethodResult("predictions", None, result)], dataset


def log_results(
    logger: Logger, rows: Sequence[Row], results: Sequence[MethodResult], classes: Sequence[str], files: dict[str, Path]
) -> None:
    """Send scores, the per-class table and the pictures of a report to a logger, and end its run.

    Args:
        logger: any gets the scores; the table and the pictures go to W&B only.
        rows: one per result.
        results: the methods.
        classes: K names.
        files: of :func:`src.inference.report.write_report`; empty where there is none.
    """
    for one, row in zip(results, rows, strict=True):
        names = ("miou", "miou_reference", "wiou", "vc8", "vc16", "temporal_consistency", "miou_by_distance_min", "gflops", "ms")
        figures = {f"eval/{name}_{one.key}": row[name] for name in names if row.get(name) is not None}
        strict = {f"eval/strict_{name}_{one.key}": row["strict"][name] for name in ("vc8", "vc16")}
        logger.log_metrics(figures | {name: value for name, value in strict.items() if value is not None})
    if isinstance(logger, WandbLogger):
        lines = [[name, *(row["iou_per_class"][name] for row in rows)] for name in classes]
        logger.log_table("eval/iou_per_class", columns=["class", *(one.key for one in results)], data=lines)
        for name, path in files.items():
            if path.suffix == ".png":
                logger.log_image(f"eval/{name}", [str(path)])
        # Another evaluation in this process is another run.
        logger.experiment.finish()
    else:
        logger.finalize("success")


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


def _dataset(cfg: DictConfig) -> ClipDataset:
    dataset: ClipDataset = instantiate(cfg.data.test)
    if cfg.max_clips is not None:
        dataset.clips = dataset.clips[: cfg.max_clips]
    if not dataset.clips:
        raise ValueError(f"{cfg.data.name}: no clip to evaluate (max_clips={cfg.max_clips})")
    return dataset


def _conditions(propagator: Propagator, size: Size, options: RunOptions) -> Row:
    machine = describe_machine(next(propagator.parameters()).device)
    return {
        "input_size": f"{size[0]}x{size[1]}",
        "device": machine["device"],
        "threads": machine["threads"],
        "precision": "float32" if options.autocast is None else str(options.autocast).removeprefix("torch."),
    }


def _new_path(name: str | None, overwrite: bool) -> Path | None:
    if name is None:
        return None
    path = Path(name)
    if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} exists already: name another one or set overwrite=true")
    return path


@hydra.main(version_base="1.3", config_path="../conf", config_name="eval")
def main(cfg: DictConfig) -> None:
    """Evaluate, print the table and write it."""
    evaluate(cfg)


if __name__ == "__main__":
    quote_path_arguments()
    main()
