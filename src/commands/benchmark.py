"""Cost, latency, loader and training-step measurements: the work of ``python -m src.benchmark``."""

import copy
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from hydra.utils import instantiate
from lightning.fabric.utilities import move_data_to_device
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from src.commands.benchmark_subject import META, image_size, machine, propagator_of, subject, training_precision
from src.commands.measurements.break_even import measure_break_even
from src.commands.measurements.peers import measure_peers
from src.commands.own_data import fill_from_files
from src.commands.runtime_choice import runtimes_of
from src.data.clips import FileClips
from src.data.pairs.color_jitter import ColorJitter
from src.data.pairs.transforms import PairTransform
from src.data.samples import PairBatch
from src.files.tables import Row, check_output, write_table
from src.inference.cost_probe import frame_calls
from src.inference.evaluation.progress import heartbeat
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure import report, speed_report
from src.measure.cost import frame_cost
from src.measure.latency import describe_machine, time_in_turn
from src.measure.loader import loader_rates
from src.measure.machine import autocast_named, device_named
from src.measure.memory import peak_memory_mib
from src.measure.published import published_models
from src.measure.sample_clips import moving_clip, sample_batch, sample_clips
from src.measure.speed import SpeedPlan, runtime_calls
from src.measure.speed import measure_speed as speed_row
from src.models.propagator import Propagator
from src.ops.device import set_threads
from src.training.module import PropagationModule
from src.training.step_times import step_times

log = logging.getLogger(__name__)

_NO_JITTER = "without color jitter"


def benchmark(cfg: DictConfig) -> Row | list[Row]:
    """Run a benchmark of ``conf/benchmark.yaml``: measure, print and write.

    Returns:
        The written row; for ``what=paper`` one row per model.

    Raises:
        FileExistsError: if the output exists and ``overwrite`` is not set.
        ValueError: if ``what`` or another setting is invalid, or the image size is unknown.
    """
    if cfg.what not in MEASUREMENTS:
        raise ValueError(f"what={cfg.what}; expected one of {', '.join(MEASUREMENTS)}")
    fill_from_files(cfg.data)
    output = None if cfg.output is None else check_output(cfg.output, cfg.overwrite)
    set_threads(cfg.threads)
    # A log file has no terminal width, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 150)
    with heartbeat(f"measuring {cfg.what}"):
        result = MEASUREMENTS[cfg.what](cfg, console)
    if output is not None:
        for path in write_table(result, output):
            log.info("written: %s", path)
    return result


def measure_cost(cfg: DictConfig, console: Console) -> Row:
    """Count parameters and GFLOPs without data or weights."""
    row = _cost(cfg)
    report.print_table(console, f"{report.title(row)}, batch 1; one multiply-add counts 1", report.cost_table(row))
    return row


def measure_latency(cfg: DictConfig, console: Console) -> Row:
    """Measure milliseconds and memory of key and non-key frames, from decoded frame to label map."""
    size, interval = image_size(cfg), FixedInterval(cfg.key_interval)
    device, autocast = device_named(cfg.device), autocast_named(cfg.autocast)
    runtimes = runtimes_of(cfg.runtime, cfg.checkpoint)
    stream = StreamingSegmentor(propagator_of(cfg, device), interval, autocast=autocast, runtime=runtimes)
    first, second = (torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8) for _ in range(2))
    _, state = stream.step(first, None)
    calls: dict[str, Callable[[], object]] = {"key": lambda: stream.step(first, None)}
    if interval.key_interval > 1:
        calls["propagate"] = lambda: stream.step(second, state)
    timings = time_in_turn(calls, cfg.warmup, cfg.repeats)
    peaks = {name: peak_memory_mib(call, device) for name, call in calls.items()}
    row = {**subject(cfg, size), **report.latency_row(timings, peaks, cfg.key_interval), **machine(device, cfg.autocast)}
    report.print_table(console, f"{report.title(row)}, batch 1; {report.conditions(row)}", report.latency_table(row))
    return row


def measure_speed(cfg: DictConfig, console: Console) -> Row:
    """Time our frames beside transformers and the published code, whole clips, and the parts of a frame beside their roofline."""
    size, device, autocast = image_size(cfg), device_named(cfg.device), autocast_named(cfg.autocast)
    propagator = propagator_of(cfg, device)
    intervals = sorted({1, *cfg.speed.key_intervals})
    runtime = runtimes_of(cfg.runtime, cfg.checkpoint)
    streams = {
        k: StreamingSegmentor(
            propagator, FixedInterval(k), autocast=autocast, compile=cfg.compile, map_size=cfg.map_size, runtime=runtime
        )
        for k in intervals
    }
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        frames = moving_clip(Path(folder), size, cfg.speed.num_frames)
    plan = SpeedPlan(cfg.warmup, cfg.repeats, cfg.speed.clip_repeats, list(cfg.speed.measure))
    fused = _fused_calls(streams[1], [frame.to(device) for frame in frames]) if max(intervals) > 1 else {}
    if streams[1].runtime.kind != "eager" and max(intervals) > 1:
        if "parts" in cfg.speed.measure:
            raise ValueError(f"speed.measure has parts and runtime is {cfg.runtime}; expected eager, or [frames,clips]")
        eager = StreamingSegmentor(propagator, FixedInterval(max(intervals)), autocast=autocast, map_size=cfg.map_size)
        fused |= runtime_calls(streams[max(intervals)], eager, frames, streams[1].runtime.kind)
    row = {**subject(cfg, size), **speed_row(propagator, streams, frames, plan, fused), **machine(device, cfg.autocast)}
    speed_report.show(row, console, None if cfg.output is None else Path(cfg.output).with_suffix(".png"))
    return row


def measure_loader(cfg: DictConfig, console: Console) -> Row:
    """Measure training pairs per second of one loader process, and bare decoding of the same JPEGs.

    Raises:
        ValueError: if ``loader.source`` is unknown, or the data set has no image files.
    """
    if cfg.loader.source not in ("generated", "dataset"):
        raise ValueError(f"loader.source={cfg.loader.source}; expected generated or dataset")
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        if cfg.loader.source == "generated":
            size = image_size(cfg)
            filtered = cfg.loader.filtered_labels
            dataset: Any = sample_clips(Path(folder), size, cfg.data.num_classes, filtered_labels=filtered)
        else:
            dataset = instantiate(cfg.data.train)
            if not isinstance(dataset, FileClips):
                raise ValueError(f"data={cfg.data.name} is a {type(dataset).__name__}; expected a data set of image files")
            image = dataset.read_image(0, 0)
            size = (image.shape[-2], image.shape[-1])
        sampling = instantiate(cfg.data.pair_sampling)
        rates = loader_rates(dataset, sampling, _transforms(cfg), cfg.loader.num_pairs, cfg.batch_size, cfg.seed)
    rows = {name: report.loader_row(rate) for name, rate in rates.items()}
    name, first = next(iter(rows.items()))
    row = {**subject(cfg, size), "source": cfg.loader.source, **first, "parts_ms": dict(rates[name].parts_ms)}
    row["without_color_jitter"] = rows.get(_NO_JITTER)
    row |= {"device": describe_machine()["device"], "threads": 1}
    files = f"{cfg.loader.source} JPEGs of {row['input_size']}"
    report.print_table(
        console,
        f"{cfg.data.name}: pairs from {files}; {row['device']}, one process, one thread",
        report.loader_table(rows, row["parts_ms"]),
    )
    return row


def measure_training(cfg: DictConfig, console: Console) -> Row:
    """Time the parts of a training step on generated pairs, also with autograd through frozen modules."""
    device = device_named(cfg.device)
    name = training_precision(cfg, device)
    propagator = propagator_of(cfg, device, cfg.stage.flow)
    objective, optim = instantiate(cfg.stage.objective), instantiate(cfg.stage.optim)
    module = PropagationModule(propagator, objective, optim, cfg.data.num_classes, {}, cfg.seed).to(device)
    transform = instantiate(cfg.data.train_transform)
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        pairs = sample_batch(Path(folder), image_size(cfg), cfg.data.num_classes, transform, cfg.batch_size, cfg.seed)
    batch: PairBatch = move_data_to_device(pairs, device)
    ways = step_times(module, batch, autocast_named(name), cfg.warmup, cfg.repeats)
    size = (batch.key_image.shape[-2], batch.key_image.shape[-1])
    row = {**subject(cfg, size), "stage": cfg.stage.name, "batch_size": cfg.batch_size, "step_ms": ways, **machine(device, name)}
    heading = (
        f"{row['experiment']}, stage {row['stage']}: {cfg.batch_size} pairs of {row['input_size']}; {report.conditions(row)}"
    )
    report.print_table(console, heading, report.step_table(ways))
    return row


def measure_all(cfg: DictConfig, console: Console) -> Row:
    """Measure cost, then latency."""
    return {**measure_cost(cfg, console), **measure_latency(cfg, console)}


def measure_paper(cfg: DictConfig, console: Console) -> list[Row]:
    """Count the cost of the paper's twelve models, each from its experiment, beside the published figures."""
    rows = []
    for name in track(list(published_models()), "counting", console=console, transient=True):
        rows.append(_cost(compose("benchmark", [f"experiment={name}", f"key_interval={cfg.key_interval}"])))
    console.print(report.paper_table(rows), soft_wrap=True, highlight=False)
    return rows


MEASUREMENTS: dict[str, Callable[[DictConfig, Console], Row | list[Row]]] = {
    "all": measure_all,
    "break_even": measure_break_even,
    "cost": measure_cost,
    "latency": measure_latency,
    "loader": measure_loader,
    "paper": measure_paper,
    "peers": measure_peers,
    "speed": measure_speed,
    "training": measure_training,
}
"""Measurements by the values of ``what``."""


def _fused_calls(stream: StreamingSegmentor, frames: Sequence[torch.Tensor]) -> dict[str, Callable[[], object]]:
    """Return calls that label the second frame, with the first and the sixth as key frames, fused from several of them."""
    past, both = copy.copy(stream), copy.copy(stream)  # share the compiled networks
    past.fuse_keys = both.fuse_keys = True
    both.mode = "offline"
    images = frames[0], frames[min(5, len(frames) - 1)]
    key, nonkey = frame_calls(both, frames[1], images)
    return {"offline_nonkey": nonkey, "fused_key": frame_calls(past, frames[1], images)[0], "offline_fused_key": key}


def _cost(cfg: DictConfig) -> Row:
    size, propagator = image_size(cfg), propagator_of(cfg, META)
    published = published_models().get(cfg.name)
    if published is not None and _architecture(propagator) != _architecture(_published_propagator(cfg.name)):
        published = None
    return {**subject(cfg, size), **report.cost_row(frame_cost(propagator, size), cfg.key_interval, size, published)}


def _published_propagator(experiment: str) -> Propagator:
    cfg = compose("benchmark", [f"experiment={experiment}"])
    fill_from_files(cfg.data)
    return propagator_of(cfg, META)


def _architecture(propagator: Propagator) -> tuple[object, ...]:
    segmentor, flow = propagator.segmentor, propagator.flow
    fields = segmentor.network_fields(segmentor.network.config)
    return type(segmentor), segmentor.num_classes, fields, type(flow), flow.config()


def _transforms(cfg: DictConfig) -> dict[str, PairTransform]:
    """Return the configured training transform, and the same without color jitter, which may run on the device."""
    transform: PairTransform = instantiate(cfg.data.train_transform) or PairTransform([])
    rest = [step for step in transform.steps if not isinstance(step, ColorJitter)]
    return {"loader": transform} | ({_NO_JITTER: PairTransform(rest)} if len(rest) < len(transform.steps) else {})
