"""Label a video: ``python -m src.predict input=<video> checkpoint=<model> output=<folder>``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from src.command_line import quote_path_arguments, stopping_on_signals, typed_path
from src.inference.frames import CameraFrames, FrameSource, ImageFrames, is_image
from src.inference.prediction_progress import in_words, shown_progress
from src.inference.streaming import StreamingSegmentor
from src.inference.video_frames import VideoFrames
from src.inference.video_model import names_and_colours, with_flow
from src.inference.video_outputs import OutputOptions, VideoOutputs
from src.inference.video_prediction import PredictionProgress, predict_video
from src.measure.machine import autocast_named, device_named
from src.weights.checkpoints import load_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """How a prediction ended.

    Attributes:
        progress: frames, key frames and times.
        faults: what was broken in the input; empty if it was sound.
        stopped: signal that ended it early, or ``None``.
        written: files, and folders of files.
    """

    progress: PredictionProgress
    faults: list[str]
    stopped: int | None
    written: list[Path]

    @property
    def exit_code(self) -> int:
        """0, 1 for a broken input, or 128 + signal."""
        return 128 + self.stopped if self.stopped is not None else int(bool(self.faults))


def predict(cfg: DictConfig) -> Prediction:
    """Everything that ``conf/predict.yaml`` describes; whatever cannot be done is refused before anything is computed.

    Args:
        cfg: the composed configuration.

    Returns:
        How it ended. A broken input is no exception, because what could be read of it is written.

    Raises:
        FileExistsError: if something would be overwritten unasked.
        OSError: if input or checkpoint cannot be opened.
        ValueError: if an option is not a known one, or input or checkpoint are not what they should be.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
        cv2.setNumThreads(cfg.threads)
    options = OutputOptions(cfg.labels, cfg.flow_pictures, cfg.legend, cfg.alpha, cfg.quality, cfg.overwrite, cfg.source_beside)
    output = typed_path(str(cfg.output))
    _check_output(output, cfg, options)
    source = open_source(cfg)
    propagator, metadata = load_checkpoint(typed_path(str(cfg.checkpoint)), device_named(cfg.device))
    propagator = with_flow(propagator, metadata, cfg.flow, cfg.dis_short_side)
    classes, palette = names_and_colours(metadata, propagator.segmentor.num_classes)
    short_side, max_long_side = (
        metadata.get(name) if cfg[name] == "checkpoint" else cfg[name] for name in ("short_side", "max_long_side")
    )
    scheduler, autocast = instantiate(cfg.scheduler), autocast_named(cfg.autocast)
    stream = StreamingSegmentor(propagator, scheduler, short_side, max_long_side, autocast, cfg.compile)
    if source.info.has_audio:
        log.info("%s has sound, which is dropped: the overlay has pictures alone", source.info.name)
    written: list[Path] = []
    with VideoOutputs(output, source.info, classes, palette, options) as outputs, stopping_on_signals() as (stop, received):
        with shown_progress(console, source) as progress:
            done = predict_video(
                stream, source, outputs.write,
                with_flow=cfg.flow_pictures, max_frames=cfg.max_frames, stop=stop, progress=progress,
            )  # fmt: skip
        if done.frames:
            written = outputs.finish()
    prediction = Prediction(done, list(source.faults), received[0] if received else None, written)
    _report(prediction)
    return prediction


def open_source(cfg: DictConfig) -> FrameSource:
    """The source that ``input`` names: a clip of ``data``, an existing file or folder, or else the index of a camera."""
    name = str(cfg.input)
    if cfg.get("data") is not None:
        return ImageFrames.of_clip(instantiate(cfg.data[cfg.clip_split]), name)
    path = typed_path(name)
    if path.is_dir() or is_image(path):
        return ImageFrames.of_files(path, cfg.fps)
    if not path.exists() and name.isdecimal():
        return CameraFrames(int(name))
    return VideoFrames(path)


def _report(prediction: Prediction) -> None:
    log.info("%s in %.1f s", in_words(prediction.progress), prediction.progress.elapsed)
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


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Predict, and say by the exit code how it ended."""
    try:
        code = predict(cfg).exit_code
    except (OSError, ValueError) as error:
        # What is wrong with an argument needs no stack; HYDRA_FULL_ERROR=1 shows it all the same.
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        log.error("%s", error)
        code = 1
    except KeyboardInterrupt:
        log.error("stopped; nothing is written")
        code = 130
    if code:
        sys.exit(code)


if __name__ == "__main__":
    quote_path_arguments()
    main()
