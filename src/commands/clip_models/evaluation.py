"""Clip segmentors in ``python -m src.eval``."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from src.command_line.arguments import typed_path
from src.commands.clip_models.settings import refuse_settings
from src.commands.evaluated import conditions, dataset_of, warn_of_void
from src.commands.parallel.clips import ClipTask, Evaluate, clip_shares
from src.data.clips import ClipDataset
from src.files.tables import Row, new_path, write_table
from src.inference.clip_stream import ClipStream
from src.inference.distributed import Share
from src.inference.evaluation.clips import evaluate_streams
from src.inference.evaluation.comparison import MethodResult, check_classes
from src.inference.evaluation.fusing import PLAIN
from src.inference.evaluation.prediction_files import PredictionFolder
from src.inference.evaluation.progress import ProgressBars, advance
from src.inference.evaluation.results_folder import results_folder
from src.inference.evaluation.scores import Scores
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


def clip_model_clips(cfg: DictConfig) -> Evaluate:
    """Return the function of a worker that evaluates a clip segmentor over one clip."""
    stream, dataset = _stream_and_data(cfg)

    def evaluate(task: ClipTask, share: Share[Scores]) -> None:
        save = None if task.folder is None else PredictionFolder(task.folder, dataset).write
        evaluate_streams([stream], dataset, None, cfg.temporal_consistency, save, share)

    return evaluate


def evaluate_clip_model(cfg: DictConfig, output: Path, console: Console) -> tuple[list[Row], list[MethodResult], ClipDataset]:
    """Evaluate a clip segmentor on every frame of the clips, for the options of ``conf/eval.yaml``.

    Raises:
        ValueError: if an option of key frames, flow or their pictures is set, or model and data have different classes.
    """
    refuse_settings(cfg, "eval", _KEY_FRAME_SETTINGS)
    saved = new_path(cfg.save_predictions, cfg.overwrite)
    stream, dataset = _stream_and_data(cfg)
    segmentor = stream.segmentor
    image = dataset.read_image(0, 0)
    _, size = stream.sizes((image.shape[-2], image.shape[-1]))
    note = {"data": cfg.data.name, "checkpoint": str(cfg.checkpoint)}
    with (
        results_folder(saved, note, cfg.overwrite) as folder,
        clip_shares(cfg, clip_model_clips) as share_of,
        ProgressBars(console) as progress,
    ):
        callback = advance(progress, progress.add_task(segmentor.model_type, total=None))
        save = None if folder is None else PredictionFolder(folder, dataset).write
        result = evaluate_streams([stream], dataset, callback, cfg.temporal_consistency, save, share_of(folder, 0))
    results = [MethodResult(segmentor.model_type, None, result)]
    gflops = clip_cost(segmentor, size).streamed
    row = result_row(segmentor.model_type, 1, result, dataset.classes, gflops, gflops_measured=gflops)
    row |= PLAIN.columns
    machine = conditions(segmentor.image_mean.device, size, autocast_named(cfg.autocast))
    rows = [{**row, "first_frames": cfg.first_frames, **machine, **note}]
    warn_of_void(result, dataset)
    written = write_table(rows, output)
    first = rows[0]
    console.print(method_table(rows, f"{cfg.data.name} at {first['input_size']}, {first['device']}, {first['precision']}"))
    for path in (*written, *([] if saved is None else [saved])):
        log.info("written: %s", path)
    return rows, results, dataset


def _stream_and_data(cfg: DictConfig) -> tuple[ClipStream, ClipDataset]:
    segmentor, metadata = load_clip_model(local_folder(typed_path(str(cfg.checkpoint))), device_named(cfg.device))
    dataset = dataset_of(cfg)
    check_classes(metadata, dataset)
    autocast = autocast_named(cfg.autocast)
    return ClipStream(segmentor, cfg.short_side, cfg.max_long_side, autocast, first_frames=cfg.first_frames), dataset
