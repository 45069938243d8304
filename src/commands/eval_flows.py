"""Evaluation of flows: ``what=label_propagation|endpoint_error`` of ``python -m src.eval``."""

import logging
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.commands.loggers import configured_loggers
from src.data.clips import ClipDataset
from src.files.tables import Row, new_path, write_table
from src.inference.evaluation.flow.comparison import FlowComparison
from src.inference.evaluation.flow.label_propagation import label_pairs
from src.inference.evaluation.flow.method import FlowMethod
from src.inference.evaluation.flow.pictures import write_flow_pictures
from src.inference.evaluation.flow.table import draw_offsets, flow_table
from src.inference.evaluation.partial import keep_finished, remove_partial
from src.inference.evaluation.progress import heartbeat
from src.inference.evaluation.results_folder import results_folder
from src.inference.methods import own_methods, with_method
from src.measure.flow_cost import cost_rows, flow_cost
from src.measure.machine import device_named
from src.ops.resize import resize_image
from src.structures import Size
from src.training.logging.evaluation_logging import log_flows
from src.weights.model_folder import load_model

log = logging.getLogger(__name__)


def evaluate_flows(cfg: DictConfig, dataset: ClipDataset, output: Path, report: Path | None, console: Console) -> list[Row]:
    """Score, count and time the flows of ``conf/eval.yaml``; write table (JSON), charts (a folder, if given) and pictures.

    Returns:
        The written rows: one per method (and offset).

    Raises:
        ValueError: if options contradict one another, or a name is unknown or repeated.
    """
    for name in ("predictions", "save_predictions", "overlay", "autocast"):
        if cfg[name] is not None:
            raise ValueError(f"{name}={cfg[name]} is set with what={cfg.what}; expected it only with what=masks")
    if cfg.what != "label_propagation" and (cfg.pictures or cfg.report):
        raise ValueError(f"pictures or report is set with what={cfg.what}; expected them only with what=label_propagation")
    pictures = new_path(cfg.pictures, cfg.overwrite)
    comparison = FlowComparison(cfg.what, dataset, list(cfg.offsets), cfg.target_stride)
    if pictures is not None:
        label_pairs(dataset, [cfg.picture_interval])
    scored, counted = _flow_methods(cfg)
    unscored = [name for name in cfg.picture_flows or () if name not in scored]
    if unscored:
        raise ValueError(f"picture_flows contains {', '.join(unscored)}; expected some of {', '.join(scored)}")
    with heartbeat(f"counting and timing {', '.join((*scored, *counted))}"):
        costs = _flow_costs(cfg, scored | counted, dataset)
    rows: list[Row] = []
    try:
        for found in comparison.rows(scored, costs, console):
            rows += [{**row, "data": cfg.data.name} for row in found]
    except KeyboardInterrupt:
        finished = {row["method"] for row in rows}
        keep_finished(rows, [name for name in costs if name not in finished], output)
        raise
    undefined = sorted({row["method"] for row in rows if row["method"] in scored and row.get("miou", row.get("epe")) is None})
    if undefined:
        log.warning("no pixel of the data can be scored, so the scores of %s are undefined", ", ".join(undefined))
    files = list(write_table(rows, output))
    remove_partial(output)
    console.print(flow_table(rows))
    with results_folder(report, {"data": cfg.data.name}, cfg.overwrite) as folder:
        charts = [] if folder is None else draw_offsets(rows, folder)
    charts = [Path(cfg.report) / path.name for path in charts]
    with results_folder(pictures, {"data": cfg.data.name, "flows": list(scored)}, cfg.overwrite) as folder:
        drawn = {name: scored[name] for name in cfg.picture_flows or scored}
        if folder is not None and pictures is not None:
            paths = write_flow_pictures(drawn, dataset, folder, cfg.picture_interval, choice=cfg.palette)
            files += [pictures / path.name for path in paths]
    for path in (*files, *charts):
        log.info("written: %s", path)
    for logger in configured_loggers(cfg.logger):
        log_flows(logger, rows, charts)
    return rows


def _flow_methods(cfg: DictConfig) -> tuple[dict[str, FlowMethod], dict[str, FlowMethod]]:
    """Build the flows to score, and those that are only counted and timed."""
    device = device_named(cfg.device)
    unknown = [name for name in (*cfg.flows, *cfg.cost_only) if name not in cfg.known_flows]
    if unknown:
        raise ValueError(f"unknown flows {', '.join(unknown)}; expected some of {', '.join(cfg.known_flows)}")
    sides = cfg.short_side, cfg.max_long_side
    scored = {name: FlowMethod(instantiate(cfg.known_flows[name]).to(device), None, *sides) for name in cfg.flows}
    single = [] if OmegaConf.is_missing(cfg, "checkpoint") or cfg.checkpoint is None else [cfg.checkpoint]
    for path in (*single, *cfg.checkpoints):
        propagator, _ = load_model(path, device)
        for name, method in own_methods(propagator).items():
            if name in scored:
                raise ValueError(f"{path}: a second flow {name!r}; expected models with different flows")
            own = with_method(propagator, method)
            scored[name] = FlowMethod(own.flow, own.segmentor, *sides)
    counted = {}
    for name in cfg.cost_only:
        if name in scored:
            raise ValueError(f"{name} is in both flows and cost_only; expected it in one")
        node = cfg.known_flows[name]
        weightless = {"weights": None} if "weights" in node else {}
        counted[name] = FlowMethod(instantiate(node, **weightless).to(device), None, *sides)
    if not scored and not counted:
        raise ValueError("flows, checkpoint, checkpoints and cost_only are empty; expected at least one flow")
    return scored, counted


def _flow_costs(cfg: DictConfig, methods: dict[str, FlowMethod], dataset: ClipDataset) -> dict[str, Row]:
    """Measure the cost of each flow on the first two frames of the data, resized to ``cost_size``."""
    size: Size = tuple(cfg.cost_size)
    key_image, image = (resize_image(dataset.read_image(0, frame), size) for frame in (0, 1))
    calls = {}
    for name, method in methods.items():
        sized = FlowMethod(method.flow, method.segmentor)
        calls[name] = partial(sized.estimate, sized.start(key_image), sized.network_image(image))
    counts = {name: flow_cost(method.flow, method.queries, size) for name, method in methods.items()}
    rows = cost_rows(counts, calls, cfg.timing_repeats, device_named(cfg.device))
    return {name: {**row, "cost_size": f"{size[0]}x{size[1]}"} for name, row in rows.items()}
