"""Methods of an evaluation with their data and settings, loaded alike by the command and its workers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from rich.console import Console

from src.command_line.arguments import typed_path
from src.commands.evaluated import dataset_of
from src.commands.parallel.clips import ClipTask, Evaluate
from src.commands.runtime_choice import runtimes_of
from src.data.clips import ClipDataset
from src.inference.distributed import SINGLE, Share
from src.inference.evaluation.clips import EvaluationOptions, MapCallback
from src.inference.evaluation.comparison import Job, MethodResult, SchedulerMaker, check_classes, evaluate_methods, jobs
from src.inference.evaluation.fusing import FrameKind, Fusing, fusings
from src.inference.evaluation.prediction_files import PredictionFolder
from src.inference.evaluation.scheduled_rows import check_schedulers, scheduler_makers
from src.inference.evaluation.scores import Scores
from src.inference.methods import EVERY_FRAME, with_method
from src.inference.scheduling.scheduler import FixedInterval
from src.measure.cost import frame_cost
from src.measure.machine import autocast_named, device_named
from src.models.propagator import Propagator
from src.ops.resize import short_side_size
from src.structures import Size
from src.weights.checkpoints import load_checkpoint


@dataclass(frozen=True)
class Methods:
    """Networks of an evaluation, with their data and settings.

    Attributes:
        size: (H, W) of the networks' input.
        gflops: cost of a kind of frame, by the method and fusion.
    """

    networks: dict[str, Propagator]
    dataset: ClipDataset
    options: EvaluationOptions
    intervals: list[int]
    fused: list[Fusing]
    makers: dict[str, SchedulerMaker | None]
    size: Size
    gflops: Callable[[str, Fusing, FrameKind], float]

    def evaluate(
        self,
        console: Console | None,
        save: MapCallback | None,
        share_of: Callable[[int], Share[Scores]] = lambda number: SINGLE.share,
        only: int | None = None,
    ) -> Iterator[MethodResult]:
        """Evaluate the jobs by :func:`evaluate_methods`."""
        return evaluate_methods(
            self.networks, self.dataset, self.intervals, self.options, console, save, self.makers, self.fused, share_of, only
        )


def method_settings(cfg: DictConfig) -> tuple[EvaluationOptions, list[int], list[Fusing], list[Job]]:
    """Return the options, key intervals, fusions and jobs of ``conf/eval.yaml``; contradictions are a ``ValueError``."""
    options = _options(cfg)
    intervals = [FixedInterval(k).key_interval for k in cfg.key_intervals]
    check_schedulers(cfg.schedulers, cfg.interval_shifts, (cfg.budget.gflops, cfg.budget.ms), cfg.budget.percent, intervals)
    fused = fusings(*(_listed(cfg[name]) for name in ("mode", "fusion", "fuse_keys")))
    for fusing in fused:
        replace(options, fusing=fusing)
    return options, intervals, fused, jobs(cfg.methods, intervals, cfg.schedulers, fused)


def load_methods(cfg: DictConfig) -> Methods:
    """Load model and data of an evaluation, and check that they have what the methods need.

    Raises:
        ValueError: if options contradict one another, or model and data do not support them.
    """
    options, intervals, fused, _ = method_settings(cfg)
    rules = list(dict.fromkeys(fusing.fusion for fusing in fused if fusing.fusion is not None))
    propagator, metadata = load_checkpoint(
        typed_path(str(cfg.checkpoint)), device_named(cfg.device), cfg.split_images, cfg.dense_size
    )
    methods = {name: with_method(propagator, name) for name in cfg.methods}
    for name in set(methods) - set(EVERY_FRAME):
        for rule in rules:
            methods[name].check_fusion(rule)
    dataset = dataset_of(cfg)
    check_classes(metadata, dataset)
    image = dataset.read_image(0, 0)
    size = short_side_size((image.shape[-2], image.shape[-1]), options.short_side, options.max_long_side)
    counted = {name: frame_cost(method, size, [] if name in EVERY_FRAME else rules) for name, method in methods.items()}

    def gflops(method: str, fusing: Fusing, kind: FrameKind) -> float:
        return counted[method].frame(kind.is_key, kind.flows, fusing.fusion, kind.sources)

    adaptive, budget = partial(instantiate, cfg.adaptive), partial(instantiate, cfg.budget)
    makers = scheduler_makers(cfg.schedulers, adaptive, budget, gflops, size, cfg.budget.percent)
    return Methods(methods, dataset, options, intervals, fused, makers, size, gflops)


def method_clips(cfg: DictConfig) -> Evaluate:
    """Return the function of a worker that evaluates a method over one clip."""
    methods = load_methods(cfg)

    def evaluate(task: ClipTask, share: Share[Scores]) -> None:
        save = None if task.folder is None else PredictionFolder(task.folder, methods.dataset).write
        list(methods.evaluate(Console(quiet=True), save, lambda number: share, task.job))

    return evaluate


def _options(cfg: DictConfig) -> EvaluationOptions:
    return EvaluationOptions(
        cfg.short_side, cfg.max_long_side, autocast_named(cfg.autocast), cfg.protocol, cfg.key_frame_offsets,
        cfg.temporal_consistency, cfg.interval_shifts, cfg.disoccluded, runtimes=runtimes_of(cfg.runtime, cfg.checkpoint),
    )  # fmt: skip


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, ListConfig) else [value]
