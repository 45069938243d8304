"""Callbacks for dashboards (docs/wandb.md): class table, short video, cost of the model, score of streamed clips."""

import copy
import logging
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from src.data.clips import ClipDataset
from src.inference.clip_stream import ClipStream
from src.inference.distributed import World
from src.inference.evaluation.clips import EvaluationOptions, evaluate_clips, evaluate_streams
from src.inference.evaluation.pictures import write_comparison_video
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.clip_cost import clip_cost, inference_params_m
from src.measure.cost import frame_cost
from src.ops.resize import short_side_size
from src.training.clips import ClipModule
from src.training.module import PropagationModule
from src.training.stages import SegmentorStage
from src.training.strategies import is_sharded
from src.visualization.palette import PaletteChoice

log = logging.getLogger(__name__)


class _Streaming(Callback):
    """Settings of callbacks that stream clips as ``src.predict`` does.

    Args:
        key_interval: frames from key frame to key frame.
        short_side: target length of the shorter side, pixels; ``None``: the frame's own size.
        max_long_side: maximum longer side, pixels.
    """

    def __init__(self, key_interval: int = 5, short_side: int | None = None, max_long_side: int | None = None) -> None:
        self.key_interval = FixedInterval(key_interval).key_interval
        self.short_side = short_side
        self.max_long_side = max_long_side

    def streams(self, module: LightningModule) -> bool:
        """Return whether one process can run the model at a key interval: clip segmentors have none, others may be sharded."""
        return isinstance(module, PropagationModule) and not is_sharded(module.propagator)


class ClassTable(Callback):
    """Logs ``val/iou_per_class`` at every validation, a W&B table of class and IoU in percent."""

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table of this validation's scores."""
        if trainer.sanity_checking:
            return
        classes = trainer.datamodule.val.classes  # type: ignore[attr-defined]
        scores = (100 * pl_module.iou_per_class).tolist()  # type: ignore[operator, union-attr]
        # NaN: no validation label contains the class.
        rows = [[name, None if score != score else score] for name, score in zip(classes, scores, strict=True)]
        for logger in _wandb_loggers(trainer):
            logger.log_table("val/iou_per_class", columns=["class", "iou"], data=rows)


class OverlayClip(_Streaming):
    """Writes a short video of the first validation clip at every validation: image, label, overlay; to W&B as ``val/overlay``.

    Args:
        folder: folder of the mp4 files, named by their step.
        num_frames: number of frames from the start of the clip, at least 1.
        palette: colors of the classes.
    """

    def __init__(
        self,
        folder: str,
        num_frames: int = 48,
        key_interval: int = 5,
        short_side: int | None = None,
        max_long_side: int | None = None,
        palette: PaletteChoice = "names",
    ) -> None:
        if num_frames < 1:
            raise ValueError(f"num_frames is {num_frames}; expected at least 1")
        super().__init__(key_interval, short_side, max_long_side)
        self.folder = Path(folder)
        self.num_frames = num_frames
        self.palette = palette

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the video of this validation, unless the model :meth:`streams` not."""
        if trainer.sanity_checking or not trainer.is_global_zero or not self.streams(pl_module):
            return
        propagator: Any = pl_module.propagator
        path = self.folder / f"step_{trainer.global_step:07d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset = _first_frames(trainer.datamodule.val, self.num_frames)  # type: ignore[attr-defined]
        training = propagator.training
        stream = StreamingSegmentor(propagator, FixedInterval(self.key_interval), self.short_side, self.max_long_side)
        write_comparison_video({f"k={self.key_interval}": stream}, dataset, 0, path, choice=self.palette)
        propagator.train(training)
        for logger in _wandb_loggers(trainer):
            logger.log_video("val/overlay", [str(path)], caption=[dataset.clips[0].name], format=["mp4"])


class ModelCost(_Streaming):
    """Logs ``model/gflops`` per frame at one key interval (multiply-adds, as in papers) and ``model/parameters`` in millions.

    The dashboard plots ``val/miou`` of all runs of a sweep against them.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count on one process, and log before the first step."""
        is_clip_model = isinstance(pl_module, ClipModule)
        if not trainer.loggers or not trainer.is_global_zero or not (is_clip_model or self.streams(pl_module)):
            return
        image = trainer.datamodule.val.read_image(0, 0)  # type: ignore[attr-defined]
        frame = image.shape[-2], image.shape[-1]
        if isinstance(pl_module, ClipModule):
            _, size = ClipStream(pl_module.segmentor, self.short_side, self.max_long_side).sizes(frame)
            pl_module.segmentor.train()  # the stream has set eval mode
            figures = clip_cost(pl_module.segmentor, size).streamed, inference_params_m(pl_module.segmentor)
        else:
            propagator: Any = pl_module.propagator
            cost = frame_cost(propagator, short_side_size(frame, self.short_side, self.max_long_side))
            figures = cost.average(self.key_interval), sum(cost.params_m.values())
        for logger in trainer.loggers:
            named = dict(zip(("model/gflops", "model/parameters"), figures, strict=True))
            logger.log_metrics(named, step=trainer.global_step)


class StreamedScore(_Streaming):
    """Logs ``val/streamed_miou`` after training: streamed validation clips, of a propagator with key frames at 0, k, 2k, ...

    In contrast, ``val/miou`` scores single pairs at all offsets. The segmentor's stage has no motion and streams nothing.

    Args:
        max_clips: number of validation clips, from the first; ``None``: all.
    """

    def __init__(
        self,
        key_interval: int = 5,
        max_clips: int | None = None,
        short_side: int | None = None,
        max_long_side: int | None = None,
    ) -> None:
        if max_clips is not None and max_clips < 1:
            raise ValueError(f"max_clips is {max_clips}; expected at least 1, or null for all")
        super().__init__(key_interval, short_side, max_long_side)
        self.max_clips = max_clips

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score on all ranks together, each with its share of the clips; a propagator that :meth:`streams` not is left out."""
        is_clip_model = isinstance(pl_module, ClipModule)
        if not is_clip_model and (not self.streams(pl_module) or isinstance(pl_module.stage, SegmentorStage)):
            return
        network: Any = pl_module.network
        dataset = copy.copy(trainer.datamodule.val)  # type: ignore[attr-defined]
        dataset.clips = dataset.clips[: self.max_clips]
        world = World(trainer.global_rank, trainer.world_size)
        training = network.training
        if is_clip_model:
            result = evaluate_streams([ClipStream(network, self.short_side, self.max_long_side)], dataset, share=world.share)
        else:
            options = EvaluationOptions(self.short_side, self.max_long_side, key_frame_offsets="first")
            result = evaluate_clips(network, dataset, self.key_interval, options, share=world.share)
        network.train(training)
        interval = "" if is_clip_model else f" at key interval {self.key_interval}"
        log.info("validation clips%s: mIoU %.1f %%", interval, 100 * result.miou)
        for logger in trainer.loggers:
            logger.log_metrics({"val/streamed_miou": result.miou}, step=trainer.global_step)


def git_state(folder: Path) -> dict[str, str | bool]:
    """Return the commit of the code in a folder and whether it was changed since; empty where git does not track it."""

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        run("ls-files", "--error-unmatch", ".")  # fails for an installed package, also below another repository
        return {"commit": run("rev-parse", "HEAD"), "changed": bool(run("status", "--porcelain"))}
    # No git, no repository, files of no repository, or a repository of another user.
    except (OSError, subprocess.SubprocessError):
        return {}


def _wandb_loggers(trainer: Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _first_frames(dataset: ClipDataset, num_frames: int) -> ClipDataset:
    """Copy the dataset with only the first frames of its first clip."""
    first = dataset.clips[0]
    shown = copy.copy(dataset)
    shown.clips = [replace(first, images=first.images[:num_frames], labels=first.labels[:num_frames])]
    return shown
