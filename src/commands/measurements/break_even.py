"""Break-even of carried masks for a model on this machine: the work of ``python -m src.benchmark what=break_even``."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from torch import Tensor

from src.command_line.arguments import typed_path
from src.commands.benchmark_subject import chosen_size, image_size, machine, propagator_of, subject
from src.commands.runtime_choice import runtimes_of
from src.data.clips import ClipDataset
from src.files.tables import Row
from src.inference.cost_probe import frame_calls
from src.inference.evaluation.comparison import check_classes
from src.inference.evaluation.fusing import Fusing
from src.inference.flow_choice import with_flow
from src.inference.results.sources import open_path
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Mode, StreamingSegmentor
from src.inference.video.sources import clip_number
from src.measure import report
from src.measure.comparisons.break_even import ModeCost, accuracy_row, break_even_rows, break_even_table, notes, verdicts
from src.measure.cost import frame_cost
from src.measure.latency import time_in_turn
from src.measure.machine import autocast_named, device_named
from src.measure.sample_clips import moving_clip
from src.metrics.iou import MeanIoU
from src.models.propagator import Propagator
from src.ops.resize import resize_nearest, short_side_size
from src.structures import Size
from src.weights.checkpoints import load_checkpoint

_FRAME: Size = (480, 853)
"""(H, W) of a frame where neither an image nor a data set gives one: a frame of VSPW."""
_TIMED_FRAMES = 6
_Streams = Callable[[Mode, int], StreamingSegmentor]
"""(mode, key interval) -> stream; all share the networks and their runtime."""


@dataclass(frozen=True)
class _Clip:
    """Frames to score.

    Attributes:
        fps: frames per second.
        images: returns the frames, (3, H, W) uint8, from the first on.
        label: returns the label (H, W) of a frame, ``None`` without one.
    """

    fps: float
    images: Callable[[], Iterator[Tensor]]
    label: Callable[[int], Tensor | None]


def measure_break_even(cfg: DictConfig, console: Console) -> list[Row]:
    """Time key and carried frames, online and offline, and score a clip where one is configured.

    Returns:
        A row for each mode and key interval.

    Raises:
        ValueError: if ``size`` and a clip are both set, the clip has less than two frames, or its classes are not the model's.
    """
    device, settings = device_named(cfg.device), cfg.break_even
    if settings.clip is not None and cfg.size is not None:
        raise ValueError(f"size={list(cfg.size)} and break_even.clip={settings.clip}; expected only one of them")
    propagator, metadata, sides = _model(cfg, device)
    clip = None if settings.clip is None else _open_clip(cfg, metadata, propagator.segmentor.num_classes)
    autocast, runtimes = autocast_named(cfg.autocast), runtimes_of(cfg.runtime, cfg.checkpoint)

    def stream(mode: Mode, key_interval: int) -> StreamingSegmentor:
        return StreamingSegmentor(propagator, FixedInterval(key_interval), *sides, autocast, mode=mode, runtime=runtimes)

    if clip is None:
        with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
            frames = moving_clip(Path(folder), _input_size(cfg, sides), _TIMED_FRAMES)
    else:
        frames = [image[None] for image in islice(clip.images(), _TIMED_FRAMES)]
    if len(frames) < 2:
        raise ValueError(f"break_even.clip={settings.clip} has {len(frames)} frames; expected at least 2")
    frames = [frame.to(device) for frame in frames]
    costs = _costs(stream, frames, cfg.warmup, cfg.repeats)
    rate = settings.fps if clip is None else clip.fps
    jobs = [(mode, k) for mode in get_args(Mode) for k in settings.key_intervals]
    accuracy = {} if clip is None else _accuracy(stream, clip, jobs, settings.max_frames, console)
    first = stream("online", 1).resize(frames[0])
    named = {**subject(cfg, (first.shape[-2], first.shape[-1])), "flow": type(propagator.flow).__name__}
    named |= {"clip": None if settings.clip is None else str(settings.clip), "rate": rate}
    conditions = machine(device, cfg.autocast)
    rows = [{**named, **row, **conditions} for row in break_even_rows(costs, settings.key_intervals, rate, accuracy)]
    heading = f"{report.title(rows[0])}, {rows[0]['flow']}, batch 1; {report.conditions(rows[0])}"
    report.print_table(console, heading, break_even_table(rows))
    for line in [*notes(rows), *verdicts(costs, rate, max(settings.key_intervals))]:
        console.print(line, soft_wrap=True, highlight=False)
    return rows


def _model(cfg: DictConfig, device: torch.device) -> tuple[Propagator, dict[str, Any], tuple[int | None, int | None]]:
    """Return the network with the flow that carries its masks, its metadata, and its short side and longest side."""
    if cfg.checkpoint is None:
        propagator = propagator_of(cfg, device)
        # The configured flow is the one to measure, trained or not.
        flow = "own" if cfg.flow == "auto" else cfg.flow
        return with_flow(propagator, {}, flow, cfg.dis_short_side), {}, (cfg.data.eval.short_side, cfg.data.eval.max_long_side)
    propagator, metadata = load_checkpoint(typed_path(str(cfg.checkpoint)), device)
    sides = metadata.get("short_side"), metadata.get("max_long_side")
    return with_flow(propagator, metadata, cfg.flow, cfg.dis_short_side), metadata, sides


def _input_size(cfg: DictConfig, sides: tuple[int | None, int | None]) -> Size:
    """Return (H, W) of generated frames: ``size``, else that of the experiment, or a frame of VSPW as the model resizes it."""
    if cfg.checkpoint is None:
        return image_size(cfg)
    return chosen_size(cfg) or short_side_size(_FRAME, *sides)


def _costs(stream: _Streams, frames: list[Tensor], warmup: int, repeats: int) -> dict[str, ModeCost]:
    """Time both kinds of frames of both modes in turn, and count their GFLOPs."""
    first, second, last = frames[0], frames[1], frames[-1]
    online, offline = stream("online", 2), stream("offline", 2)
    state = online.step(first, None)[1]
    offline_key, offline_carried = frame_calls(offline, second, (first, last))
    calls: dict[tuple[str, bool], Callable[[], object]] = {
        ("online", True): lambda: online.step(first, None),
        ("online", False): lambda: online.step(second, state),
        ("offline", True): offline_key,
        ("offline", False): offline_carried,
    }
    times = time_in_turn(calls, warmup, repeats)
    resized = online.resize(first)
    counted = frame_cost(online.propagator, (resized.shape[-2], resized.shape[-1]), [online.fusion])
    costs = {}
    for mode in get_args(Mode):
        kinds = Fusing(mode, online.fusion).kinds
        gflops = [counted.frame(kind.is_key, kind.flows, online.fusion, kind.sources) for kind in kinds]
        costs[mode] = ModeCost(times[mode, True].median_ms, times[mode, False].median_ms, *gflops)
    return costs


def _open_clip(cfg: DictConfig, metadata: dict[str, Any], num_classes: int) -> _Clip:
    """Open ``break_even.clip``: a video, an image folder, or a clip of the data set's evaluated split."""
    path = typed_path(str(cfg.break_even.clip))
    if path.exists():
        source = open_path(path, cfg.break_even.fps)

        def frames() -> Iterator[Tensor]:
            with closing(iter(source)) as opened:
                for frame in opened:
                    yield frame.image

        return _Clip(float(source.info.fps), frames, lambda frame: None)
    dataset: ClipDataset = instantiate(cfg.data.test)
    check_classes(metadata, dataset)
    if dataset.num_classes != num_classes:
        raise ValueError(f"the model has {num_classes} classes, the data {dataset.num_classes}; expected the same ones")
    number = clip_number(dataset, str(cfg.break_even.clip))
    labels = dataset.clips[number].labels
    return _Clip(
        dataset.fps,
        lambda: (dataset.read_image(number, frame) for frame in range(len(dataset.clips[number]))),
        lambda frame: None if labels[frame] is None else dataset.read_label(number, frame),
    )


def _accuracy(
    stream: _Streams, clip: _Clip, jobs: Sequence[tuple[Mode, int]], max_frames: int, console: Console
) -> dict[tuple[str, int], Row]:
    """Score the first frames of a clip at key frames 0, k, 2k, ..., against labels and against every frame segmented."""

    def maps(mode: Mode, k: int) -> Iterator[Tensor]:
        return (one.cpu() for one in stream(mode, k).stream(islice(clip.images(), max_frames)))

    def score(found: Iterable[Tensor]) -> tuple[float, float | None]:
        same = pixels = 0
        iou = MeanIoU(stream("online", 1).num_classes)
        for number, (one, alone) in enumerate(zip(found, per_frame, strict=True)):
            same, pixels = same + int((one == alone).sum()), pixels + one.numel()
            label = clip.label(number)
            if label is not None:
                iou.update(resize_nearest(one.long(), (label.shape[-2], label.shape[-1])), label)
        return same / pixels, float(iou.compute()["miou"]) if iou.confusion.any() else None

    # Classes fit a byte, which bounds the memory of long clips.
    per_frame = [one.to(torch.uint8) for one in maps("online", 1)]
    _, best = score(per_frame)
    scores: dict[tuple[str, int], Row] = {}
    for mode, k in track(jobs, "scoring", console=console, transient=True):
        scores[mode, k] = accuracy_row(*score(per_frame if k == 1 else maps(mode, k)), best)
    return scores
