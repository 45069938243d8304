"""Evaluation of methods and prediction files over clips: the work of ``python -m src.eval``."""

import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.command_line.arguments import typed_path
from src.command_line.signals import interrupting_on_signals
from src.commands.clip_models.evaluation import evaluate_clip_model
from src.commands.eval_flows import evaluate_flows
from src.commands.evaluated import conditions, dataset_of, warn_of_void
from src.commands.loggers import configured_loggers
from src.commands.parallel.clips import Evaluate, clip_shares
from src.commands.parallel.methods import load_methods, method_clips, method_settings
from src.commands.parallel.session import check_alone, check_local
from src.data.clips import ClipDataset
from src.files.tables import Row, check_output, new_path, write_table
from src.inference.engines.tasks import WorkerDiedError
from src.inference.evaluation.comparison import MethodResult, draw_methods
from src.inference.evaluation.equal_cost import over_fixed, write_curves
from src.inference.evaluation.partial import check_partial, keep_finished, remove_partial
from src.inference.evaluation.prediction_files import PredictionFolder, evaluate_predictions
from src.inference.evaluation.progress import ProgressBars, advance
from src.inference.evaluation.report import report_tables, write_report
from src.inference.evaluation.results_folder import results_folder
from src.inference.evaluation.scheduled_rows import scheduled_row
from src.inference.evaluation.table import method_table, prediction_row, prediction_table
from src.ops.device import set_threads
from src.training.logging.evaluation_logging import log_results
from src.weights.checkpoints import is_clip_checkpoint

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> int:
    """Run :func:`evaluate` and return the exit code.

    A signal ends the evaluation with 128 plus its number; :func:`evaluate` keeps the finished rows.
    """
    with interrupting_on_signals() as received:
        try:
            check_alone(cfg)
            evaluate(cfg)
        except KeyboardInterrupt:
            number = received[0] if received else signal.SIGINT
            log.error("stopped by %s", signal.Signals(number).name)
            return 128 + number
    return 0


def evaluate(cfg: DictConfig) -> list[Row]:
    """Run an evaluation of ``conf/eval.yaml``; options are checked before anything is computed.

    After a ``KeyboardInterrupt``, or the end of too many workers, the finished rows are written as ``<output>.partial.json``.

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
    if cfg.what != "masks":
        check_local(cfg, f"what={cfg.what} runs in one process")
    # A log file has no terminal width, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120)
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
        rows, results, dataset = _evaluate_model(cfg, output, console)
    else:
        rows, results, dataset = _evaluate_predictions(cfg, output, console)
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


def _evaluate_model(cfg: DictConfig, output: Path, console: Console) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    titles = [job.title for job in method_settings(cfg)[-1]]  # before a checkpoint is read
    if is_clip_checkpoint(typed_path(str(cfg.checkpoint))):
        return evaluate_clip_model(cfg, output, console)
    overlay, pictures = new_path(cfg.overlay, cfg.overwrite, ".mp4"), new_path(cfg.pictures, cfg.overwrite)
    saved = new_path(cfg.save_predictions, cfg.overwrite)
    if saved is not None:
        _check_single(titles)
    methods = load_methods(cfg)
    dataset, options, size = methods.dataset, methods.options, methods.size
    device = next(next(iter(methods.networks.values())).parameters()).device
    note = {"data": cfg.data.name, "checkpoint": str(cfg.checkpoint)}
    note |= {} if cfg.budget.percent is None else {"budget_percent": cfg.budget.percent}
    rows: list[Row] = []
    results: list[MethodResult] = []
    try:
        with results_folder(saved, note, cfg.overwrite) as folder, clip_shares(cfg, method_clips) as share_of:
            save = None if folder is None else PredictionFolder(folder, dataset).write
            for one in methods.evaluate(console, save, partial(share_of, folder)):
                row = scheduled_row(one, methods.gflops, size, dataset.classes)
                results.append(one)
                rows.append({**row, **conditions(device, size, options.autocast), **note})
    except (KeyboardInterrupt, WorkerDiedError):
        keep_finished(rows, titles[len(rows) :], output)
        raise
    warn_of_void(results[0].result, dataset)
    if len(methods.makers) > 1:
        rows = [{**row, "miou_over_fixed": gain} for row, gain in zip(rows, over_fixed(rows), strict=True)]
    written = write_table(rows, output)
    remove_partial(output)
    first = rows[0]
    console.print(method_table(rows, f"{cfg.data.name} at {first['input_size']}, {first['device']}, {first['precision']}"))
    with results_folder(pictures, note, cfg.overwrite) as folder:
        draw_methods(
            methods.networks, dataset, options, cfg.picture_interval, overlay, folder, console, methods.fused, cfg.palette
        )
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


def _evaluate_predictions(cfg: DictConfig, output: Path, console: Console) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    for name in ("checkpoint", "overlay", "pictures", "save_predictions"):
        if not OmegaConf.is_missing(cfg, name) and cfg[name] is not None:
            raise ValueError(f"{name}={cfg[name]} and predictions={cfg.predictions} are set; expected only one of them")
    dataset = dataset_of(cfg)
    predictions = PredictionFolder(cfg.predictions, dataset)
    with clip_shares(cfg, prediction_clips) as share_of, ProgressBars(console) as progress:
        callback = advance(progress, progress.add_task("predictions", total=None))
        result = evaluate_predictions(predictions, callback, cfg.temporal_consistency, share_of(None, 0))
    warn_of_void(result, dataset)
    row = prediction_row(result, dataset.classes, len(dataset.clips))
    row = {**row, "data": cfg.data.name, "predictions": str(cfg.predictions)}
    for path in write_table(row, output):
        log.info("written: %s", path)
    console.print(prediction_table(row, f"{cfg.predictions}: {row['frames']} frames of {row['clips']} clips of {cfg.data.name}"))
    return [row], [MethodResult("predictions", None, result)], dataset


def prediction_clips(cfg: DictConfig) -> Evaluate:
    """Return the function of a worker that scores the prediction files of one clip."""
    predictions = PredictionFolder(cfg.predictions, dataset_of(cfg))
    return lambda task, share: evaluate_predictions(predictions, None, cfg.temporal_consistency, share)
