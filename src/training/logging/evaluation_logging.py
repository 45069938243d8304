"""Logging of evaluation results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lightning.pytorch.loggers import Logger, WandbLogger

from src.files.tables import Row
from src.inference.evaluation.comparison import MethodResult


def log_results(
    logger: Logger, rows: Sequence[Row], results: Sequence[MethodResult], classes: Sequence[str], files: dict[str, Path]
) -> None:
    """Log scores, the per-class table and the pictures of a report, and end the logger's run.

    Args:
        logger: receives the scores; table and pictures only if it is a W&B logger.
        rows: one table row per result.
        results: results of the methods.
        classes: K names.
        files: files of :func:`src.inference.evaluation.report.write_report`; empty without a report.
    """
    for one, row in zip(results, rows, strict=True):
        names = ("miou", "miou_reference", "wiou", "vc8", "vc16", "temporal_consistency", "miou_by_offset_min", "gflops", "ms")
        figures = {f"eval/{name}_{one.key}": row[name] for name in names if row.get(name) is not None}
        strict = {f"eval/strict_{name}_{one.key}": row["strict"][name] for name in ("vc8", "vc16")}
        logger.log_metrics(figures | {name: value for name, value in strict.items() if value is not None})
    if isinstance(logger, WandbLogger):
        lines = [[name, *(row["iou_per_class"][name] for row in rows)] for name in classes]
        logger.log_table("eval/iou_per_class", columns=["class", *(one.key for one in results)], data=lines)
        _log_pictures(logger, files.values())
    _end(logger)


def log_flows(logger: Logger, rows: Sequence[Row], files: Sequence[Path]) -> None:
    """Log the rows of label propagation or end-point errors, and their charts, and end the logger's run.

    Args:
        logger: receives the figures; charts only if it is a W&B logger.
        rows: rows of :mod:`src.inference.evaluation.flow.table`.
        files: charts, PNG.
    """
    for row in rows:
        place = f"_offset_{row['offset']}" if "offset" in row else ""
        names = ("miou", "wiou", "epe", "outlier_rate", "gflops", "ms")
        logger.log_metrics({f"eval/flow_{name}_{row['method']}{place}": row[name] for name in names if row.get(name) is not None})
    if isinstance(logger, WandbLogger):
        _log_pictures(logger, files)
    _end(logger)


def _log_pictures(logger: WandbLogger, files: Iterable[Path]) -> None:
    for path in files:
        if path.suffix == ".png":
            logger.log_image(f"eval/{path.stem}", [str(path)])


def _end(logger: Logger) -> None:
    if isinstance(logger, WandbLogger):
        # The next evaluation in this process must start a new run.
        logger.experiment.finish()
    else:
        logger.finalize("success")
