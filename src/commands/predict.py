"""Prediction of one video, or of many, here or in other processes: implementation of ``python -m src.predict``."""

import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.command_line.arguments import typed_path
from src.command_line.signals import stopping_on_signals
from src.commands.clip_models.prediction import clip_predictor
from src.commands.parallel.session import check_alone, check_local
from src.commands.parallel.videos import predict_many
from src.commands.runtime_choice import runtimes_of
from src.commands.stream_costs import at_budget, with_facts
from src.files.results.fingerprint import fingerprint, tensor_fingerprint
from src.files.results.output_names import check_apart
from src.inference.evaluation.progress import heartbeat
from src.inference.flow_choice import names_and_colors
from src.inference.results import streams
from src.inference.results.sources import open_path
from src.inference.scheduling.budget import Budget
from src.inference.streaming import Mode
from src.inference.video.batch import BatchPredictor
from src.inference.video.formats.exports import check_installed
from src.inference.video.live.address import is_address, masked
from src.inference.video.live.camera import open_camera
from src.inference.video.live.latest import LiveFrames, LiveOptions, Retry
from src.inference.video.live.opening import open_address
from src.inference.video.live.page import LivePage, live_page
from src.inference.video.output_places import check_output, names_file, output_scratch
from src.inference.video.outputs import OutputOptions
from src.inference.video.predictor import StopSignals, VideoPrediction, VideoPredictor
from src.inference.video.sources import FrameSource, ImageFrames
from src.inference.video.video_list import list_videos
from src.measure.machine import autocast_named, device_named
from src.ops.device import set_threads
from src.weights.checkpoints import is_clip_checkpoint, load_checkpoint

log = logging.getLogger(__name__)

# Settings that the results depend on. Settings of the machine and of its speed are left out.
_RESULT_KEYS = (
    "checkpoint", "flow", "dis_short_side", "short_side", "max_long_side", "max_frames", "labels", "flow_pictures",
    "flow_scale", "legend", "palette", "key_marks", "alpha", "quality", "autocast", "map_size", "fps", "source_beside",
    "fuse_keys", "sound", "reset_at_cuts", "split_images", "first_frames", "dense_size",
    "flicker", "confidence", "report", "max_seconds",
)  # fmt: skip
_STREAM_KEYS = (
    "flow", "dis_short_side", "fusion", "fuse_keys", "reset_at_cuts", "short_side", "max_long_side", "map_size", "compile",
)  # fmt: skip


def run(cfg: DictConfig) -> int:
    """Predict one video, or every video of a folder or list, by ``conf/predict.yaml``, and return the exit code."""
    try:
        check_alone(cfg)
        path = typed_path(str(cfg.input))
        cfg.output = cfg.output or default_output(cfg)
        videos = None if cfg.get("data") is not None else list_videos(path)
        if videos is None:
            check_local(cfg, f"{path} is not a folder or list of videos")
            title = masked(str(cfg.input)) if is_address(str(cfg.input)) else path.name
            with live_page(cfg.live_page, title) as page:
                return predict(cfg, page).exit_code
        if cfg.live_page is not None:
            raise ValueError(f"live_page is {cfg.live_page}, and the input has {len(videos)} videos; expected one input")
        inputs, output = [*videos.values(), *([path] if path.is_dir() else [])], typed_path(str(cfg.output))
        check_apart(inputs, output, typed_path(str(cfg.checkpoint)))
        output_options(cfg)
        if names_file(output):
            raise ValueError(f"output is {output}, and the input has {len(videos)} videos; expected a folder")
        received = list[int]()
        outcomes = predict_many(cfg, videos, batch_predictor, received)
        return 128 + received[0] if received else int(any(outcome.needs_attention for outcome in outcomes))
    except KeyboardInterrupt:
        log.error("stopped; nothing is written")
        return 130


def default_output(cfg: DictConfig) -> str:
    """Return ``<paths.runs>/predict/<name of the input>``, as a string for the configuration."""
    path = typed_path(str(cfg.input))
    if cfg.get("data") is not None:
        name = f"{cfg.data.name}_{cfg.clip_split}_{cfg.input}"
    elif path.exists():
        name = path.resolve().name if path.is_dir() else path.stem
    else:
        name = masked(str(cfg.input)) if is_address(str(cfg.input)) else f"camera_{cfg.input}"
    return str(Path(cfg.paths.runs) / "predict" / re.sub(r"[^\w.-]+", "_", name).lstrip("."))


def predict(cfg: DictConfig, page: LivePage | None = None) -> VideoPrediction:
    """Predict one input as configured by ``conf/predict.yaml``. Invalid settings are refused before the model is loaded.

    Decode errors do not raise, because the decodable frames are written.

    Raises:
        FileExistsError: if results exist and ``overwrite`` is false, a file of another program would be replaced, or the input
            and ``output`` are one or contain one another.
        OSError: if the input or checkpoint cannot be opened, a file cannot be written, or another process predicts to ``output``.
        ValueError: if an option, the input or the checkpoint is invalid.
    """
    options = output_options(cfg)
    # The folder that a link leads to; results are renamed in it.
    output = typed_path(str(cfg.output)).resolve()
    live_input = is_address(str(cfg.input))
    given = typed_path(str(cfg.input)) if cfg.get("data") is None and not live_input else None
    check_apart([given] if given is not None and given.exists() else [], output, typed_path(str(cfg.checkpoint)))
    source = open_source(cfg)
    check_output(output, options, source.info.is_picture, cfg.overwrite)
    mode = chosen_mode(cfg, is_live=isinstance(source, LiveFrames))
    predictor = load_predictor(cfg, options, cfg.device, mode)
    console = Console(width=None if sys.stdout.isatty() else 120)
    written: list[Path] = []
    with stopping_on_signals() as signals, output_scratch(output, options.is_file) as scratch:
        settings = _settings(cfg, predictor, mode)
        identity = {
            "video": source.info.name if live_input else str(cfg.input),
            "input": fingerprint(given) if given else None,
            "settings": settings,
        }
        predictor = with_facts(predictor, cfg, settings)
        prediction = predictor.predict(source, scratch.new, console, signals, page)
        if prediction.frames:
            note = {"frames": prediction.frames, "errors": prediction.decode_errors, "complete": prediction.stop_signal is None}
            if isinstance(source, LiveFrames):
                note |= {"dropped": prediction.progress.dropped, "reconnects": prediction.progress.reconnects}
            written = scratch.commit(identity | note, cfg.overwrite)
    _report(prediction, written)
    return prediction


def batch_predictor(
    settings: dict[str, Any], console: Console | None = None, signals: StopSignals | None = None
) -> BatchPredictor:
    """Load the model of a configuration, given as plain values, and return the predictor of its videos, in any process."""
    cfg = OmegaConf.create(settings)
    options, mode = output_options(cfg), chosen_mode(cfg)
    predictor = load_predictor(cfg, options, cfg.device, mode)
    facts = _settings(cfg, predictor, mode)
    predictor = with_facts(predictor, cfg, facts)
    shown, stopping = console or Console(quiet=True), signals or (threading.Event(), [])

    def predict_one(video: Path, folder: Path) -> VideoPrediction:
        return predictor.predict(open_path(video, cfg.fps), folder, shown, stopping)

    output = typed_path(str(cfg.output)).resolve()
    return BatchPredictor(output, predict_one, facts, cfg.overwrite, options.names())


def output_options(cfg: DictConfig) -> OutputOptions:
    """Return the configured options of the output files; a missing package of an export is an error."""
    check_installed(cfg.exports)
    names = (
        "labels", "flow_pictures", "flow_scale", "legend", "key_marks", "alpha", "quality", "source_beside", "sound",
        "flicker", "confidence", "report",
    )  # fmt: skip
    return OutputOptions(
        **{name: cfg[name] for name in names},
        exports=tuple(dict.fromkeys(cfg.exports)),
        is_file=names_file(typed_path(str(cfg.output))),
    )


def chosen_mode(cfg: DictConfig, is_live: bool = False) -> Mode:
    """Return the configured mode; ``auto`` is online for a live source, and where every frame is segmented."""
    return streams.chosen_mode(cfg.mode, cfg.flow, is_live)


def _settings(cfg: DictConfig, predictor: VideoPredictor, mode: Mode) -> dict[str, Any]:
    """Return the values that the results depend on."""
    scheduler = OmegaConf.to_container(cfg.scheduler, resolve=True)
    fusion = cfg.fusion if mode == "offline" or cfg.fuse_keys else None
    chosen = {
        "mode": mode,
        "exports": sorted(set(cfg.exports)),
        "fusion": fusion,
        "scheduler": scheduler,
        "weights": predictor.weights,
    }
    return {name: cfg[name] for name in _RESULT_KEYS} | chosen


def load_predictor(cfg: DictConfig, options: OutputOptions, device: str, mode: Mode) -> VideoPredictor:
    """Load the configured model to a device."""
    set_threads(cfg.threads)
    if is_clip_checkpoint(typed_path(str(cfg.checkpoint))):
        return replace(clip_predictor(cfg, options, device), max_seconds=cfg.max_seconds)
    with heartbeat(f"loading {cfg.checkpoint}"):
        propagator, metadata = load_checkpoint(
            typed_path(str(cfg.checkpoint)), device_named(device), cfg.split_images, cfg.dense_size
        )
    weights = tensor_fingerprint(propagator.state_dict(), json.dumps(metadata, sort_keys=True, default=str))
    classes, palette = names_and_colors(metadata, propagator.segmentor.num_classes, cfg.palette)
    scheduler, autocast = instantiate(cfg.scheduler), autocast_named(cfg.autocast)
    chosen = {name: cfg[name] for name in _STREAM_KEYS}
    runtime = runtimes_of(cfg.runtime, cfg.checkpoint)
    stream = streams.video_stream(propagator, metadata, scheduler, mode, autocast=autocast, runtime=runtime, **chosen)
    stream_for = partial(at_budget, scheduler, stream) if isinstance(stream.scheduler, Budget) else None
    return VideoPredictor(stream, classes, palette, options, cfg.max_frames, stream_for, weights, max_seconds=cfg.max_seconds)


def open_source(cfg: DictConfig) -> FrameSource:
    """Open the configured ``input``: a clip of ``data``, an address, an existing file or folder, or the index of a camera."""
    name = str(cfg.input)
    if cfg.get("data") is not None:
        return ImageFrames.of_clip(instantiate(cfg.data[cfg.clip_split]), name)
    options = LiveOptions(cfg.live, cfg.live_timeout, Retry(cfg.reconnect_seconds, cfg.reconnect_attempts), cfg.max_seconds)
    if is_address(name):
        return open_address(name, options)
    path = typed_path(name)
    if not path.exists() and name.isdecimal():
        return open_camera(int(name), options)
    if cfg.live is True:
        raise ValueError(f"live is true, and the input is {path}; expected an address or the number of a camera; or live=auto")
    return open_path(path, cfg.fps)


def _report(prediction: VideoPrediction, written: Sequence[Path]) -> None:
    done = prediction.progress
    log.info("%s in %.1f s; %.1f ms per frame in the networks", done, done.elapsed, done.milliseconds)
    for error in prediction.decode_errors:
        log.error("%s", error)
    if prediction.stop_signal is not None:
        log.warning("stopped by %s", signal.Signals(prediction.stop_signal).name)
    for path in written:
        log.info("written: %s", path)
    if not written:
        log.error("no frame was predicted, so nothing is written")
    elif prediction.decode_errors:
        log.error("the input is damaged; the frames that could be decoded are written")
