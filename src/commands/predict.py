"""Labelling of one video, or of many over several processes: the work of ``python -m src.predict``."""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.command_line import stopping_on_signals, typed_path
from src.inference.cost_probe import measure_ms
from src.inference.distributed import SINGLE, World, join_world
from src.inference.flow_choice import names_and_colors, with_flow
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import StreamingSegmentor
from src.inference.video.batch import Outcome, label_videos, list_videos, summary
from src.inference.video.decoder import VideoFrames
from src.inference.video.outputs import OutputOptions
from src.inference.video.predictor import Labeller, Prediction
from src.inference.video.progress import in_words
from src.inference.video.sources import CameraFrames, FrameSource, ImageFrames, first_image, is_image
from src.measure.cost import frame_cost
from src.measure.machine import autocast_named, device_named
from src.ops.device import set_threads
from src.weights.checkpoints import load_checkpoint

log = logging.getLogger(__name__)

# What the outputs of a video depend on: where the work was done and how fast does not matter.
_RESULT_KEYS = (
    "checkpoint", "flow", "dis_short_side", "short_side", "max_long_side", "max_frames", "labels", "flow_pictures", "legend",
    "alpha", "quality", "autocast", "map_size", "fps", "source_beside",
)  # fmt: skip


def run(cfg: DictConfig) -> int:
    """Label one video, or every video of a folder or list.

    Args:
        cfg: the composed configuration of ``conf/predict.yaml``.

    Returns:
        The exit code of the process.
    """
    try:
        videos = None if cfg.get("data") is not None else list_videos(typed_path(str(cfg.input)))
        if videos is None:
            return predict(cfg).exit_code
        with join_world() as ranks:
            return int(any(outcome.is_bad for outcome in predict_many(cfg, videos, ranks)))
    except KeyboardInterrupt:
        log.error("stopped; nothing is written")
        return 130


def predict(cfg: DictConfig) -> Prediction:
    """Everything that ``conf/predict.yaml`` describes, of one input; what cannot be done is refused before the work.

    Args:
        cfg: the composed configuration.

    Returns:
        How it ended. A broken input is no exception, because what could be read of it is written.

    Raises:
        FileExistsError: if something would be overwritten unasked.
        OSError: if input or checkpoint cannot be opened.
        ValueError: if an option is not a known one, or input or checkpoint are not what they should be.
    """
    options = output_options(cfg)
    output = typed_path(str(cfg.output))
    _check_output(output, cfg, options)
    source = open_source(cfg)
    labeller = load_labeller(cfg, options, cfg.device)
    with stopping_on_signals() as stopping:
        prediction = labeller.label(source, output, Console(width=None if sys.stdout.isatty() else 120), stopping, partial=True)
    _report(prediction)
    return prediction


def predict_many(cfg: DictConfig, videos: dict[str, Path], world: World = SINGLE) -> list[Outcome]:
    """The same for many videos, each into a folder of its own below ``output``.

    Args:
        cfg: the composed configuration.
        videos: of :func:`src.inference.video.batch.list_videos`.
        world: processes that share the videos.

    Returns:
        How each ended, those of other processes too.

    Raises:
        OSError, ValueError: if an option or the checkpoint is not what it should be; a video that is not is an outcome.
    """
    output = typed_path(str(cfg.output))
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file; expected the name of a folder")
    labeller = load_labeller(cfg, output_options(cfg), world.device(cfg.device))
    console = Console(width=None if sys.stdout.isatty() else 120, quiet=not world.is_first)
    settings = {name: cfg[name] for name in _RESULT_KEYS} | {"scheduler": OmegaConf.to_container(cfg.scheduler, resolve=True)}
    with stopping_on_signals() as stopping:

        def label(video: Path, folder: Path) -> Prediction:
            return labeller.label(_open_path(video, cfg.fps), folder, console, stopping, partial=False)

        outcomes = label_videos(videos, output, label, settings, world, stopping[0], cfg.overwrite)
    if world.is_first:
        counts = {name: count for name, count in summary(outcomes).items() if isinstance(count, int) and count}
        log.info("%s; %s", ", ".join(f"{count} {name}" for name, count in counts.items()), output / "summary.json")
        for one in outcomes:
            if one.is_bad:
                log.error("%s: %s", one.video, "; ".join([one.ending, *one.faults]))
    return outcomes


def output_options(cfg: DictConfig) -> OutputOptions:
    """What is written, by the configuration."""
    return OutputOptions(cfg.labels, cfg.flow_pictures, cfg.legend, cfg.alpha, cfg.quality, cfg.overwrite, cfg.source_beside)


def load_labeller(cfg: DictConfig, options: OutputOptions, device: str) -> Labeller:
    """The model of the configuration, on a device, and how it is to be run.

    Raises:
        OSError, ValueError: see :func:`predict`.
    """
    set_threads(cfg.threads)
    propagator, metadata = load_checkpoint(typed_path(str(cfg.checkpoint)), device_named(device))
    propagator = with_flow(propagator, metadata, cfg.flow, cfg.dis_short_side)
    classes, palette = names_and_colors(metadata, propagator.segmentor.num_classes)
    short_side, max_long_side = (
        metadata.get(name) if cfg[name] == "checkpoint" else cfg[name] for name in ("short_side", "max_long_side")
    )
    scheduler, autocast = instantiate(cfg.scheduler), autocast_named(cfg.autocast)
    stream = StreamingSegmentor(propagator, scheduler, short_side, max_long_side, autocast, cfg.compile, map_size=cfg.map_size)
    schedule_for = partial(_with_costs, scheduler, stream) if isinstance(scheduler, Budget) else None
    return Labeller(stream, classes, palette, options, cfg.max_frames, schedule_for)


def _with_costs(budget: Budget, stream: StreamingSegmentor, source: FrameSource) -> Budget:
    """The budget, knowing what the frames of this source cost; a source without a frame tells so itself later.

    Raises:
        ValueError: if the budget does not even pay for propagation.
    """
    first = first_image(source)
    if first is None:
        return budget
    image = first[None]
    if budget.unit == "ms":
        costs = measure_ms(stream, image)
    else:
        seen = stream.resize(image)
        size = (seen.shape[-2], seen.shape[-1])
        cost = frame_cost(stream.propagator, size)
        costs = StepCosts.of_parts(cost.key, cost.propagate, cost.post + budget.signal_gflops(size))
    known = budget.with_costs(costs)
    log.info(
        "a key frame costs %.4g %s, a propagated one %.4g: %.4g a frame pay for a key frame every %.1f frames",
        costs.key, "ms" if budget.unit == "ms" else "GFLOPs", costs.nonkey, budget.allowance, known.key_interval,
    )  # fmt: skip
    return known


def open_source(cfg: DictConfig) -> FrameSource:
    """The source that ``input`` names: a clip of ``data``, an existing file or folder, or else the index of a camera."""
    name = str(cfg.input)
    if cfg.get("data") is not None:
        return ImageFrames.of_clip(instantiate(cfg.data[cfg.clip_split]), name)
    path = typed_path(name)
    if not path.exists() and name.isdecimal():
        return CameraFrames(int(name))
    return _open_path(path, cfg.fps)


def _open_path(path: Path, fps: float) -> FrameSource:
    return ImageFrames.of_files(path, fps) if path.is_dir() or is_image(path) else VideoFrames(path)


def _report(prediction: Prediction) -> None:
    done = prediction.progress
    log.info("%s in %.1f s; %.1f ms per frame in the networks", in_words(done), done.elapsed, done.milliseconds)
    for fault in prediction.faults:
        log.error("%s", fault)
    if prediction.stopped is not None:
        log.warning("stopped by %s", signal.Signals(prediction.stopped).name)
    for path in prediction.written:
        log.info("written: %s", path)
    if not prediction.written:
        log.error("no frame was labelled, so nothing is written")
    elif prediction.faults:
        log.error("the input is broken; what could be read of it is written")


def _check_output(output: Path, cfg: DictConfig, options: OutputOptions) -> None:
    """What :class:`VideoOutputs` refuses, before a model is loaded; and an input that the output would replace."""
    options.refuse_existing(output)
    given = typed_path(str(cfg.input)).resolve()
    for name in options.names:
        target = (output / name).resolve()
        if cfg.get("data") is None and (given == target or target in given.parents):
            raise FileExistsError(f"the input {cfg.input} would be replaced by the output {output / name}: name another output")
