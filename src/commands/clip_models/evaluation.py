"""Clip segmentors in ``python -m src.eval``."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from src.command_line.arguments import typed_path
from src.commands.clip_models.settings import refuse_settings
from src.commands.evaluated import conditions, dataset_of, warn_of_void
from src.data.clips import ClipDataset
from src.files.tables import Row, new_path, write_table
from src.inference.clip_stream import ClipStream
from src.inference.distributed import World
from src.inference.evaluation.clips import evaluate_streams
from src.inference.evaluation.comparison import MethodResult, check_classes
from src.inference.evaluation.fusing import PLAIN
from src.inference.evaluation.prediction_files import PredictionFolder
from src.inference.evaluation.progress import ProgressBars, advance
from src.inference.evaluation.results_folder import results_folder
from src.inference.evaluation.table import method_table, result_row
from src.measure.clip_cost import clip_cost
from src.measure.machine import autocast_named, device_named
from src.weights.clip_folder import load_clip_model
from src.weights.hub.download import local_folder

log = logging.getLogger(__name__)

_KEY_FRAME_SETTINGS = (
    "methods", "key_intervals", "schedulers", "mode", "fusion", "fuse_keys", "interval_shifts", "protocol", "key_frame_offsets",
    "disoccluded", "runtime", "overlay", "pictures", "split_images", "dense_size",
)  # fmt: skip


def evaluate_clip_model(
    cfg: DictConfig, output: Path, console: Console, world: World
) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    """Evaluate a clip segmentor on every frame of the clips, for the options of ``conf/eval.yaml``.

    Raises:
        ValueError: if an option of key frames, flow or their pictures is set, or model and data have different classes.
    """
    refuse_settings(cfg, "eval", _KEY_FRAME_SETTINGS)
    saved = new_path(cfg.save_predictions, cfg.overwrite)
    segmentor, metadata = load_clip_model(local_folder(typed_path(str(cfg.checkpoint))), device_named(world.device(cfg.device)))
    dataset = dataset_of(cfg)
    check_classes(metadata, dataset)
    precision = autocast_named(cfg.autocast)
    stream = ClipStream(segmentor, cfg.short_side, cfg.max_long_side, precision, first_frames=cfg.first_frames)
    image = dataset.read_image(0, 0)
    _, size = stream.sizes((image.shape[-2], image.shape[-1]))
    note = {"data": cfg.data.name, "checkpoint": str(cfg.checkpoint)}
    # All processes check their paths before any of them writes.
    world.wait()
    with results_folder(saved, note, cfg.overwrite, world) as folder, ProgressBars(console) as progress:
        callback = advance(progress, progress.add_task(segmentor.model_type, total=None))
        save = None if folder is None else PredictionFolder(folder, dataset).write
        result = evaluate_streams([stream], dataset, callback, cfg.temporal_consistency, save, world)
    results = [MethodResult(segmentor.model_type, None, result)]
    gflops = clip_cost(segmentor, size).streamed
    row = result_row(segmentor.model_type, 1, result, dataset.classes, gflops, gflops_measured=gflops)
    row |= PLAIN.columns
    rows = [{**row, "first_frames": cfg.first_frames, **conditions(segmentor.image_mean.device, size, precision), **note}]
    if not world.is_first:
        return rows, results, dataset
    warn_of_void(result, dataset)
    written = write_table(rows, output)
    first = rows[0]
    console.print(method_table(rows, f"{cfg.data.name} at {first['input_size']}, {first['device']}, {first['precision']}"))
    for path in (*written, *([] if saved is None else [saved])):
        log.info("written: %s", path)
    return rows, results, dataset
