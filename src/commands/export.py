"""Export of a model's networks for a runtime: the work of ``python -m src.export``."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from src.command_line.arguments import typed_path
from src.files.results.output_names import check_writable
from src.inference.evaluation.progress import heartbeat
from src.inference.flow_choice import names_and_colors
from src.inference.runtime import onnx, openvino, parity, store
from src.inference.runtime.graphs import Graphs, convert
from src.inference.video.decoder import VideoFrames
from src.inference.video.pages import image_source
from src.measure.sample_clips import moving_clip
from src.models.frame_modules import KeyFrame, carried
from src.models.propagator import Propagator
from src.ops.device import set_threads
from src.ops.resize import resize_antialiased
from src.structures import Size
from src.weights.checkpoints import load_checkpoint
from src.weights.folder_files import CONFIG_FILE, may_replace
from src.weights.model_folder import FORMAT, save_model

log = logging.getLogger(__name__)


def export(cfg: DictConfig) -> Path:
    """Export the model of ``conf/export.yaml``, and return the folder of its graphs.

    Raises:
        FileExistsError: if ``output`` exists, is not the folder of ``checkpoint``, and ``overwrite`` is not set.
        ModuleNotFoundError: if a package of the format is not installed.
        ValueError: if the networks cannot be converted, or differ too much from eager torch; nothing is written then.
    """
    checkpoint, output = typed_path(str(cfg.checkpoint)), typed_path(str(cfg.output))
    check_writable(output)
    source = checkpoint.parent if checkpoint.suffix == ".safetensors" else checkpoint
    is_own = output.exists() and source.exists() and output.samefile(source)
    replaceable = may_replace(output, (FORMAT,)) and (cfg.overwrite or not (output / CONFIG_FILE).exists())
    if output.exists() and not (is_own or replaceable):
        raise FileExistsError(
            f"{output} exists; choose another output, the folder of checkpoint, or a model folder and overwrite=true"
        )
    if cfg.format == "openvino":
        openvino.check_installed()
    if cfg.format == "onnx":
        if cfg.precision != "f32":
            raise ValueError(f"format is onnx and precision {cfg.precision}; expected precision=f32; or use format=openvino")
        onnx.check_installed(onnx.EXPORT_NEEDS)
    set_threads(cfg.threads)
    propagator, metadata = load_checkpoint(checkpoint)
    size = int(cfg.imgsz[0]), int(cfg.imgsz[1])
    frames = _frames(cfg, size)
    autocast = torch.bfloat16 if cfg.precision == "bf16" else None
    with heartbeat(f"exporting {cfg.checkpoint}"):
        graphs = convert(propagator, cfg.format, frames[0], autocast)
    found = deviations(propagator, graphs, frames, parity.tolerance(autocast, torch.device("cpu")))
    for kind, one in found.items():
        log.info("%s frames beside eager torch, at most over %d: %s", kind, len(frames), one)
        if not one.is_within:
            raise ValueError(f"the exported {kind} frames differ from eager torch: {one}; nothing was written")
    classes, palette = names_and_colors(metadata, propagator.segmentor.num_classes)
    report = {kind: asdict(one) for kind, one in found.items()}
    about = {"size": size, "classes": list(classes), "palette": palette, "parity": {"frames": len(frames), **report}}
    if not is_own:
        save_model(propagator, output, metadata)
    folder = output / store.EXPORTED / store.folder_name(cfg.format, size, cfg.precision, propagator)
    store.write(folder, propagator, graphs, about, checked=found)
    if graphs.nonkey is None:
        log.info("the model has no trained flow, so only its key frames are exported")
    return folder


@torch.inference_mode()
def deviations(propagator: Propagator, graphs: Graphs, frames: list[Tensor], tolerance: float) -> Mapping[str, parity.Parity]:
    """Return the largest deviations of both kinds of frames, the first frame being the key frame of the others."""
    found: dict[str, list[parity.Parity]] = {"key": [], "nonkey": []}
    size, key = (frames[0].shape[-2], frames[0].shape[-1]), KeyFrame(propagator)
    assert graphs.key is not None
    for frame in frames:
        prediction = key.prediction(graphs.run(graphs.key, frame), size)[0]
        found["key"].append(parity.compare(prediction, propagator.segmentor(frame).final_layer(), tolerance))
    if graphs.nonkey is not None:
        # The same key frame for both, so that only the propagation is compared.
        outputs = key(frames[0])
        prediction, features = key.prediction(outputs, size)
        for frame in frames[1:]:
            tensors = graphs.run(graphs.nonkey, frame, *outputs[1:])
            expected, _ = propagator.propagate(prediction, frames[0], frame, features)
            masks, _ = carried(propagator, prediction, tensors, graphs.names)
            found["nonkey"].append(parity.compare(masks, expected, tolerance))
    return {kind: _worst(several) for kind, several in found.items() if several}


def _worst(several: list[parity.Parity]) -> parity.Parity:
    columns: dict[str, Any] = {name: max(asdict(one)[name] for one in several) for name in asdict(several[0])}
    return parity.Parity(**columns)


def _frames(cfg: DictConfig, size: Size) -> list[Tensor]:
    """Return frames (1, 3, H, W) uint8 of the input, resized, or generated ones."""
    if cfg.input is None:
        with tempfile.TemporaryDirectory(prefix="export_") as folder:
            return moving_clip(Path(folder), size, cfg.num_frames)
    path = typed_path(str(cfg.input))
    source = image_source(path, 25) if path.is_dir() else VideoFrames(path)
    frames = [resize_antialiased(frame.image[None], size) for frame in islice(source, cfg.num_frames)]
    if not frames:
        raise ValueError(f"{path} has no frame; expected a video or a folder of images")
    return frames
