"""Data and conditions of an evaluation, for every kind of model."""

import logging
import math

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from src.data.clips import ClipDataset
from src.files.tables import Row
from src.inference.evaluation.scores import EvaluationResult
from src.measure.latency import describe_machine
from src.structures import Size

log = logging.getLogger(__name__)


def dataset_of(cfg: DictConfig) -> ClipDataset:
    """Return the configured clips; none is a ``ValueError``."""
    dataset: ClipDataset = instantiate(cfg.data.test)
    if cfg.max_clips is not None:
        dataset.clips = dataset.clips[: cfg.max_clips]
    if not dataset.clips:
        raise ValueError(f"{cfg.data.name} has no clip with max_clips={cfg.max_clips}; expected at least 1")
    return dataset


def warn_of_void(result: EvaluationResult, dataset: ClipDataset) -> None:
    """State that there is no mIoU, which tables show as ``-`` and files as ``null``."""
    if math.isnan(result.miou):
        log.warning(
            "no labelled pixel has a class in %d frames of %d clips: every label is void, so mIoU is undefined",
            result.frames, len(dataset.clips),
        )  # fmt: skip


def conditions(device: torch.device, size: Size, autocast: torch.dtype | None) -> Row:
    """Return the columns of a row that describe the network's input, the machine and the precision."""
    machine = describe_machine(device)
    return {
        "input_size": f"{size[0]}x{size[1]}",
        "device": machine["device"],
        "threads": machine["threads"],
        "precision": "float32" if autocast is None else str(autocast).removeprefix("torch."),
    }
