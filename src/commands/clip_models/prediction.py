"""Clip segmentors in ``python -m src.predict``."""

import json

from omegaconf import DictConfig

from src.command_line.arguments import typed_path
from src.commands.clip_models.settings import refuse_setting, refuse_settings
from src.files.results.fingerprint import tensor_fingerprint
from src.inference.clip_stream import ClipStream
from src.inference.evaluation.progress import heartbeat
from src.inference.flow_choice import names_and_colors
from src.inference.video.outputs import OutputOptions
from src.inference.video.predictor import VideoPredictor
from src.measure.machine import autocast_named, device_named
from src.weights.clip_folder import load_clip_model
from src.weights.hub.download import local_folder

_KEY_FRAME_SETTINGS = (
    "fusion", "fuse_keys", "key_interval", "flow", "dis_short_side", "flow_pictures", "flow_scale", "key_marks", "compile",
    "map_size", "reset_at_cuts", "split_images", "dense_size", "confidence",
)  # fmt: skip
_SIDES = ("short_side", "max_long_side")


def clip_predictor(cfg: DictConfig, options: OutputOptions, device: str) -> VideoPredictor:
    """Load the configured clip segmentor to a device, for the options of ``conf/predict.yaml``.

    Raises:
        ValueError: if an option of key frames or flow is set.
    """
    refuse_settings(cfg, "predict", _KEY_FRAME_SETTINGS)
    refuse_setting(cfg, "mode", cfg.mode, ("auto", "online"))
    refuse_setting(cfg, "runtime", cfg.runtime, ("eager", "auto"))
    refuse_setting(cfg, "scheduler", str(cfg.scheduler.get("_target_")).rpartition(".")[2], ("FixedInterval",))
    with heartbeat(f"loading {cfg.checkpoint}"):
        segmentor, metadata = load_clip_model(local_folder(typed_path(str(cfg.checkpoint))), device_named(device))
    weights = tensor_fingerprint(segmentor.state_dict(), json.dumps(metadata, sort_keys=True, default=str))
    classes, palette = names_and_colors(metadata, segmentor.num_classes, cfg.palette)
    published = dict(zip(_SIDES, segmentor.published_sides, strict=True))
    sides = [metadata.get(name, published[name]) if cfg[name] == "checkpoint" else cfg[name] for name in _SIDES]
    as_saved = cfg.short_side == cfg.max_long_side == "checkpoint"
    stream = ClipStream(segmentor, sides[0], sides[1], autocast_named(cfg.autocast), as_saved, cfg.first_frames)
    return VideoPredictor(stream, classes, palette, options, cfg.max_frames, weights=weights)
