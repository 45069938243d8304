"""Evaluation of methods and prediction files over clips: the work of ``python -m src.eval``."""

import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from src.command_line.arguments import typed_path
from src.command_line.signals import interrupting_on_signals
from src.commands.clip_models.evaluation import evaluate_clip_model
from src.commands.eval_flows import evaluate_flows
from src.commands.evaluated import conditions, dataset_of, warn_of_void
from src.commands.loggers import configured_loggers
from src.commands.runtime_choice import runtimes_of
from src.data.clips import ClipDataset
from src.files.tables import Row, check_output, new_path, write_table
from src.inference.distributed import SINGLE, PeerEndedError, World, join_world
from src.inference.evaluation.clips import EvaluationOptions
from src.inference.evaluation.comparison import MethodResult, check_classes, draw_methods, evaluate_methods, jobs
from src.inference.evaluation.equal_cost import over_fixed, write_curves
from src.inference.evaluation.fusing import FrameKind, Fusing, fusings
from src.inference.evaluation.partial import check_partial, keep_finished, remove_partial
from src.inference.evaluation.prediction_files import PredictionFolder, evaluate_predictions
from src.inference.evaluation.progress import ProgressBars, advance
from src.inference.evaluation.report import report_tables, write_report
from src.inference.evaluation.results_folder import results_folder
from src.inference.evaluation.scheduled_rows import check_schedulers, scheduled_row, scheduler_makers
from src.inference.evaluation.table import method_table, prediction_row, prediction_table
from src.inference.methods import EVERY_FRAME, with_method
from src.inference.scheduling.scheduler import FixedInterval
from src.measure.cost import frame_cost
from src.measure.machine import autocast_named, device_named
from src.models.fusion import FusionRule
from src.models.propagator import Propagator
from src.ops.device import set_threads
from src.ops.resize import short_side_size
from src.training.logging.evaluation_logging import log_results
from src.weights.checkpoints import is_clip_checkpoint, load_checkpoint

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> int:
    """Run :func:`evaluate` in this process, or in all processes of torchrun, and return the exit code.

    A signal ends the evaluation with 128 plus its number; :func:`evaluate` keeps the finished rows.
    """
    with interrupting_on_signals() as received:
        try:
            with join_world() as world:
                evaluate(cfg, world)
        except KeyboardInterrupt:
            number = received[0] if received else signal.SIGINT
            log.error("stopped by %s", signal.Signals(number).name)
            return 128 + number
    return 0


def evaluate(cfg: DictConfig, world: World = SINGLE) -> list[Row]:
    """Run an evaluation of ``conf/eval.yaml``; options are checked before anything is computed.

    The first of the processes that share the clips writes the results. After a ``KeyboardInterrupt``, or the end of another
    process, it writes the finished rows as ``<output>.partial.json``.

    Returns:
        The written rows: one per method and key interval, one for prediction files, or one per flow method (and offset).

    Raises:
        FileExistsError: if a file exists and ``overwrite`` is not set.
        FileNotFoundError: if a prediction file is missing.
        ValueError: if the model does not support a method, there is no clip, model and data have different classes, or options
            contradict one another.
    """
    if cfg.what not in ("masks", "label_propagation", "endpoint_error"):
        raise ValueError(f"what={cfg.what}; expected masks, label_propagation or endpoint_error")
    if cfg.what != "masks" and world.size > 1:
        raise ValueError(f"what={cfg.what} runs in {world.size} processes; expected 1: run it without torchrun")
    # A log file has no terminal width, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120, quiet=not world.is_first)
    output = check_output(cfg.output, cfg.overwrite)
    check_partial(output)
    report = new_path(cfg.report, cfg.overwrite)
    folders = [Path(cfg[name]).resolve() for name in ("report", "pictures", "save_predictions") if cfg[name] is not None]
    if len(set(folders)) < len(folders):
        raise ValueError(f"report, pictures and save_predictions are {', '.join(map(str, folders))}; expected different folders")
    set_threads(cfg.threads)
    if cfg.what != "masks":
        return evaluate_flows(cfg, dataset_of(cfg), output, report, console)
    if cfg.predictions is None:
        rows, results, dataset = _evaluate_model(cfg, output, console, world)
    else:
        rows, results, dataset = _evaluate_predictions(cfg, output, console, world)
    if not world.is_first:
        return rows
    files: dict[str, Path] = {}
    if report is not None:
        with results_folder(report, {"data": cfg.data.name}, cfg.overwrite) as folder:
            assert folder is not None
            curves = write_curves(rows, folder) if cfg.predictions is None else {}
            written = write_report(results, dataset.classes, folder) | curves
        files = {name: report / path.name for name, path in written.items()}
        for table in report_tables(results, dataset.classes):
            console.print(table)
        log.info("written: %s", report)
    for logger in configured_loggers(cfg.logger):
        log_results(logger, rows, results, dataset.classes, files)
    return rows


def _evaluate_model(
    cfg: DictConfig, output: Path, console: Console, world: World
) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    if is_clip_checkpoint(typed_path(str(cfg.checkpoint))):
        return evaluate_clip_model(cfg, output, console, world)
    overlay, pictures = new_path(cfg.overlay, cfg.overwrite, ".mp4"), new_path(cfg.pictures, cfg.overwrite)
    saved = new_path(cfg.save_predictions, cfg.overwrite)
    options = _options(cfg)
    intervals = [FixedInterval(k).key_interval for k in cfg.key_intervals]
    check_schedulers(cfg.schedulers, cfg.interval_shifts, (cfg.budget.gflops, cfg.budget.ms), cfg.budget.percent, intervals)
    fused = fusings(*(_listed(cfg[name]) for name in ("mode", "fusion", "fuse_keys")))
    for fusing in fused:
        replace(options, fusing=fusing)  # refuses contradictions before a model is loaded
    todo = jobs(cfg.methods, intervals, cfg.schedulers, fused)
    if saved is not None:
        _check_single([job.title for job in todo])
    rules = list(dict.fromkeys(fusing.fusion for fusing in fused if fusing.fusion is not None))
    methods, dataset = _methods_and_data(cfg, world, rules)
    device = next(next(iter(methods.values())).parameters()).device
    image = dataset.read_image(0, 0)
    size = short_side_size((image.shape[-2], image.shape[-1]), options.short_side, options.max_long_side)
    counted = {name: frame_cost(method, size, [] if name in EVERY_FRAME else rules) for name, method in methods.items()}

    def gflops(method: str, fusing: Fusing, kind: FrameKind) -> float:
        return counted[method].frame(kind.is_key, kind.flows, fusing.fusion, kind.sources)

    note = {"data": cfg.data.name, "checkpoint": str(cfg.checkpoint)}
    note |= {} if cfg.budget.percent is None else {"budget_percent": cfg.budget.percent}
    adaptive, budget = partial(instantiate, cfg.adaptive), partial(instantiate, cfg.budget)
    makers = scheduler_makers(cfg.schedulers, adaptive, budget, gflops, size, cfg.budget.percent)
    # All processes check their paths before any of them writes.
    world.wait()
    rows: list[Row] = []
    results: list[MethodResult] = []
    try:
        with results_folder(saved, note, cfg.overwrite, world) as folder:
            save = None if folder is None else PredictionFolder(folder, dataset).write
            for one in evaluate_methods(methods, dataset, intervals, options, console, save, makers, world, fused):
                row = scheduled_row(one, gflops, size, dataset.classes)
                results.append(one)
                rows.append({**row, **conditions(device, size, options.autocast), **note})
    except (KeyboardInterrupt, PeerEndedError):
        if world.is_first:
            keep_finished(rows, [job.title for job in todo[len(rows) :]], output)
        raise
    if not world.is_first:
        return rows, results, dataset
    warn_of_void(results[0].result, dataset)
    if len(makers) > 1:
        rows = [{**row, "miou_over_fixed": gain} for row, gain in zip(rows, over_fixed(rows), strict=True)]
    written = write_table(rows, output)
    remove_partial(output)
    first = rows[0]
    console.print(method_table(rows, f"{cfg.data.name} at {first['input_size']}, {first['device']}, {first['precision']}"))
    with results_folder(pictures, note, cfg.overwrite) as folder:
        draw_methods(methods, dataset, options, cfg.picture_interval, overlay, folder, console, fused, cfg.palette)
    for path in (*written, overlay, pictures, saved):
        if path is not None:
            log.info("written: %s", path)
    return rows, results, dataset


def _check_single(titles: Sequence[str]) -> None:
    """Raise ``ValueError`` if predictions of several results are to be saved in one folder."""
    if len(titles) > 1:
        raise ValueError(
            f"save_predictions is set with {len(titles)} results ({'; '.join(titles)}); "
            'expected one method, key interval and mode, e.g. "methods=[query]" "key_intervals=[5]"'
        )


def _methods_and_data(cfg: DictConfig, world: World, rules: Sequence[FusionRule]) -> tuple[dict[str, Propagator], ClipDataset]:
    """Load model and data, and check that the model has what the methods, the rules and the data need."""
    propagator, metadata = load_checkpoint(
        typed_path(str(cfg.checkpoint)), device_named(world.device(cfg.device)), cfg.split_images, cfg.dense_size
    )
    methods = {name: with_method(propagator, name) for name in cfg.methods}
    for name in set(methods) - set(EVERY_FRAME):
        for rule in rules:
            methods[name].check_fusion(rule)
    dataset = dataset_of(cfg)
    check_classes(metadata, dataset)
    return methods, dataset


def _evaluate_predictions(
    cfg: DictConfig, output: Path, console: Console, world: World
) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    for name in ("checkpoint", "overlay", "pictures", "save_predictions"):
        if not OmegaConf.is_missing(cfg, name) and cfg[name] is not None:
            raise ValueError(f"{name}={cfg[name]} and predictions={cfg.predictions} are set; expected only one of them")
    dataset = dataset_of(cfg)
    predictions = PredictionFolder(cfg.predictions, dataset)
    with ProgressBars(console) as progress:
        callback = advance(progress, progress.add_task("predictions", total=None))
        result = evaluate_predictions(predictions, callback, cfg.temporal_consistency, world)
    if world.is_first:
        warn_of_void(result, dataset)
    row = prediction_row(result, dataset.classes, len(dataset.clips))
    row = {**row, "data": cfg.data.name, "predictions": str(cfg.predictions)}
    for path in write_table(row, output) if world.is_first else ():
        log.info("written: %s", path)
    console.print(prediction_table(row, f"{cfg.predictions}: {row['frames']} frames of {row['clips']} clips of {cfg.data.name}"))
    return [row], [MethodResult("predictions", None, result)], dataset


def _options(cfg: DictConfig) -> EvaluationOptions:
    return EvaluationOptions(
        cfg.short_side, cfg.max_long_side, autocast_named(cfg.autocast), cfg.protocol, cfg.key_frame_offsets,
        cfg.temporal_consistency, cfg.interval_shifts, cfg.disoccluded, runtimes=runtimes_of(cfg.runtime, cfg.checkpoint),
    )  # fmt: skip


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, ListConfig) else [value]
