"""Model, clips and schedules of the demo page: implementation of ``python -m src.demo``."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig

from src.command_line.arguments import typed_path
from src.command_line.signals import stopping_on_signals
from src.commands.runtime_choice import runtimes_of
from src.data.clips import ClipDataset
from src.files.images.readers import natural_key
from src.files.own_package import package_path
from src.files.suffixes import VIDEO_SUFFIXES, is_hidden, left_out_line
from src.inference.flow_choice import names_and_colors, selectable_flows
from src.inference.video.decoder import VideoFrames
from src.inference.video.sources import FrameSource, ImageFrames
from src.measure.machine import autocast_named, device_named
from src.ops.device import set_threads
from src.web.predictor import ClipPredictor
from src.web.workplace import workplace
from src.weights.checkpoints import load_checkpoint

if TYPE_CHECKING:
    from src.web.page import DemoPage

log = logging.getLogger(__name__)

_NO_GRADIO = (
    "Gradio is not installed; the demo needs it: pip install --no-deps -r {requirements} "
    "(src.predict makes the same predictions without a page)"
)


def run(cfg: DictConfig) -> int:
    """Serve the page configured by ``conf/demo.yaml`` until Ctrl-C, and return the exit code."""
    try:
        with stopping_on_signals() as (stop, _), served(cfg) as (_, address):
            log.info("the page is at %s, reachable only from this machine; stop it with Ctrl-C", address)
            # A wait would share its lock with the signal handler that ends it.
            while not stop.is_set():
                time.sleep(0.2)
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        log.error("%s", error)
        return 1
    log.info("the page is closed, and its files are deleted")
    return 0


@contextmanager
def served(cfg: DictConfig) -> Iterator[tuple[DemoPage, str]]:
    """Serve the page and yield it with its address; on exit, close the page and delete its files.

    Raises:
        ModuleNotFoundError: if Gradio is not installed.
        OSError: if the checkpoint or the clips cannot be read, or the port is in use.
        ValueError: if an option, the checkpoint or the clips are invalid.
    """
    if importlib.util.find_spec("gradio") is None:
        requirements = os.path.relpath(package_path("requirements-demo.txt"))
        raise ModuleNotFoundError(_NO_GRADIO.format(requirements=requirements), name="gradio")
    max_upload, max_stored = byte_count(cfg.max_upload), byte_count(cfg.max_stored)
    if max_stored < max_upload:
        raise ValueError(f"max_stored is {cfg.max_stored}; expected at least max_upload, {cfg.max_upload}")
    check_port(cfg.port)
    set_threads(cfg.threads)
    predictor = open_model(cfg)
    clips = find_clips(cfg)
    schedules = [instantiate(schedule) for schedule in cfg.schedules.values()]
    with workplace() as folder:
        quiet_environment(folder)
        # Gradio reads its environment variables on import.
        from src.web.page import DemoPage

        # Most model folders are named "model", so the parent folders are shown as well.
        model_name = "/".join(Path(str(cfg.checkpoint)).parts[-3:])
        subtitle = f"{model_name} · {len(predictor.classes)} classes"
        page = DemoPage(predictor, clips, schedules, folder, cfg.max_frames or 0, subtitle, cfg.mode)
        try:
            yield page, page.launch(cfg.port, cfg.open_browser, max_upload, max_stored)
        finally:
            page.close()


def byte_count(text: str) -> int:
    """Return the number of bytes of an option such as ``500mb``, whose form ``src/options/fields.py`` checks."""
    return int(text[:-2]) << {"k": 10, "m": 20, "g": 30}[text[-2].lower()]


def check_port(port: int | None) -> None:
    """Raise ``OSError`` if the page cannot be served at the port, before the model is loaded; ``None`` is any port."""
    if port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"port {port} cannot be used: {reason}; choose another, or port=null for the first free one") from error


def open_model(cfg: DictConfig) -> ClipPredictor:
    """Load the checkpoint with every selectable flow, the configured one first."""
    propagator, metadata = load_checkpoint(typed_path(str(cfg.checkpoint)), device_named(cfg.device), dense_size=cfg.dense_size)
    classes, palette = names_and_colors(metadata, propagator.segmentor.num_classes, cfg.palette)
    short_side, max_long_side = (
        metadata.get(name) if cfg[name] == "checkpoint" else cfg[name] for name in ("short_side", "max_long_side")
    )
    flows = selectable_flows(propagator, metadata, cfg.flow, cfg.dis_short_side)
    autocast = autocast_named(cfg.autocast)
    runtimes = runtimes_of(cfg.runtime, cfg.checkpoint)
    return ClipPredictor(flows, classes, palette, short_side, max_long_side, autocast, cfg.fusion, cfg.fuse_keys, runtimes)


def find_clips(cfg: DictConfig) -> dict[str, Callable[[], FrameSource]]:
    """Return functions that open the offered clips, by name: videos of a folder, then clips of a dataset."""
    found: dict[str, Callable[[], FrameSource]] = {}
    if cfg.clips is not None:
        folder = typed_path(str(cfg.clips))
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}; expected a folder of videos")
        visible = sorted((path for path in folder.iterdir() if not is_hidden(path)), key=natural_key)
        videos = [path for path in visible if path.suffix.lower() in VIDEO_SUFFIXES]
        if not videos:
            raise ValueError(f"{folder} contains no video; expected files that end in {', '.join(VIDEO_SUFFIXES)}")
        if len(videos) < len(visible):
            log.warning("%s", left_out_line(folder, [path for path in visible if path not in videos], "videos"))
        found |= {path.name: partial(VideoFrames, path) for path in videos}
    if cfg.get("data") is not None:
        dataset: ClipDataset = instantiate(cfg.data[cfg.clip_split])
        found |= {f"{cfg.data.name}: {clip.name}": partial(ImageFrames.of_clip, dataset, clip.name) for clip in dataset.clips}
    return found


def quiet_environment(workplace: Path) -> None:
    """Set Gradio's environment variables: no telemetry, all files in one folder.

    Other ``GRADIO_`` variables are deleted, because they could open the page to other machines.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(workplace), HF_HUB_DISABLE_TELEMETRY="1")
