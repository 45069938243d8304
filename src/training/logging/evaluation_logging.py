"""Logging of evaluation results."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lightning.pytorch.loggers import Logger, WandbLogger

from src.files.tables import Row
from src.inference.evaluation.comparison import MethodResult
from src.metrics.flicker import FLICKER

_FIGURES = (
    *("miou", "miou_reference", "miou_border", "miou_disoccluded", "wiou", "vc8", "vc16", "temporal_consistency", *FLICKER),
    *("miou_by_offset_min", "gflops", "ms"),
)


def log_results(
    logger: Logger, rows: Sequence[Row], results: Sequence[MethodResult], classes: Sequence[str], files: dict[str, Path]
) -> None:
    """Log the table row of each result, on W&B also IoU per class and the pictures among ``files``, and end the logger's run."""
    for one, row in zip(results, rows, strict=True):
        figures = {f"eval/{name}_{one.key}": row[name] for name in _FIGURES if row.get(name) is not None}
        strict = {f"eval/strict_{name}_{one.key}": row["strict"][name] for name in ("vc8", "vc16")}
        logger.log_metrics(figures | {name: value for name, value in strict.items() if value is not None})
    if isinstance(logger, WandbLogger):
        lines = [[name, *(row["iou_per_class"][name] for row in rows)] for name in classes]
        logger.log_table("eval/iou_per_class", columns=["class", *(one.key for one in results)], data=lines)
    _finish(logger, files.values())


def log_flows(logger: Logger, rows: Sequence[Row], files: Sequence[Path]) -> None:
    """Log rows of :mod:`src.inference.evaluation.flow.table`, on W&B also their charts (PNG), and end the logger's run."""
    for row in rows:
        place = f"_offset_{row['offset']}" if "offset" in row else ""
        names = ("miou", "wiou", "epe", "outlier_rate", "gflops", "ms")
        logger.log_metrics({f"eval/flow_{name}_{row['method']}{place}": row[name] for name in names if row.get(name) is not None})
    _finish(logger, files)


def _finish(logger: Logger, files: Iterable[Path]) -> None:
    if not isinstance(logger, WandbLogger):
        logger.finalize("success")
        return
    for path in files:
        if path.suffix == ".png":
            logger.log_image(f"eval/{path.stem}", [str(path)])
    # The next evaluation in this process must start a new run.
    logger.experiment.finish()
