"""Training of one stage, and the repetition of a broken step: the work of ``python -m src.train``."""

import logging
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from src.commands.num_classes import fill_num_classes
from src.data.datamodule import PairDataModule
from src.training.checkpointing.nonfinite import NonFiniteStep
from src.training.checkpointing.replay import replay_step
from src.training.checkpointing.resume import discard_checkpoints, find_checkpoint
from src.training.checkpointing.run_lock import run_lock
from src.training.logging.dashboards import git_state
from src.training.logging.resilient_wandb import ResilientWandbLogger
from src.training.module import PropagationModule
from src.training.strategies import explain_lost_processes, full_model
from src.training.wiring import build_propagator, set_gradient_accumulation
from src.weights.folder_files import plain_json
from src.weights.model_folder import load_model, save_model

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, float]:
    """Run the stage of ``conf/train.yaml`` to its end and save the model folder.

    Returns:
        The last logged metrics; empty if the resumed run had already reached its last step.
    """
    fill_num_classes(cfg.data)
    run_dir = Path(cfg.run_dir)
    with run_lock(run_dir):
        return _train(cfg, run_dir)


def replay(cfg: DictConfig) -> dict[str, float]:
    """Repeat the failed step saved in ``cfg.replay``; see :func:`src.training.checkpointing.replay.replay_step`."""
    fill_num_classes(cfg.data)
    folder = Path(cfg.replay)
    step = NonFiniteStep.read(folder)
    propagator, metadata = load_model(folder / "model")
    objective, optim = instantiate(cfg.stage.objective), instantiate(cfg.stage.optim)
    module = PropagationModule(propagator, objective, optim, cfg.data.num_classes, metadata, cfg.seed)
    trainer = instantiate(cfg.trainer, logger=False, callbacks=[], _convert_="all")
    return replay_step(module, step, trainer)


def _train(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    checkpoint = find_checkpoint(run_dir, cfg.resume, cfg.overwrite)
    lightning.seed_everything(cfg.seed, verbose=False)
    # First the fast parts: a misspelt key should not wait for data and weights.
    trainer = _trainer(cfg)
    objective, optim = instantiate(cfg.stage.objective), instantiate(cfg.stage.optim)
    datamodule = instantiate(cfg.datamodule)
    propagator = build_propagator(
        instantiate(cfg.stage.segmentor),
        instantiate(cfg.stage.flow),
        cfg.stage.init_from,
        cfg.model.warp_grid,
        cfg.data.num_classes,
        new_class_head=cfg.stage.name == "segmentor",
    )
    metadata = _metadata(cfg, datamodule)
    module = PropagationModule(propagator, objective, optim, cfg.data.num_classes, metadata, cfg.seed)
    if cfg.overwrite:
        discard_checkpoints(run_dir)
    for logger in trainer.loggers:
        settings: Any = OmegaConf.to_container(cfg, resolve=True)
        logger.log_hyperparams(settings | {"git": git_state(Path(__file__).parent)})
    trainable = sum(p.numel() for p in propagator.parameters() if p.requires_grad)
    total = sum(p.numel() for p in propagator.parameters())
    log.info("stage %s: %.3f M of %.3f M parameters train; run folder %s", cfg.stage.name, trainable / 1e6, total / 1e6, run_dir)
    try:
        with explain_lost_processes(trainer):
            trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit, and StopOnSignal exits by itself.
        log.warning(
            "stopped at step %d; the same command with resume=true continues from its last checkpoint", trainer.global_step
        )
        raise
    whole = full_model(propagator, trainer)
    if trainer.is_global_zero:
        save_model(whole, run_dir / "model", metadata)
        log.info("model saved to %s", run_dir / "model")
        if cfg.upload_model:
            for logger in trainer.loggers:
                if isinstance(logger, ResilientWandbLogger):
                    logger.log_model_folder(run_dir / "model", f"{cfg.name}-{cfg.stage.name}")
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _trainer(cfg: DictConfig) -> Trainer:
    loggers: list[Logger] = [instantiate(logger) for logger in cfg.logger.values() if logger]
    callbacks: list[Callback] = [instantiate(callback) for callback in cfg.callbacks.values() if callback]
    trainer: Trainer = instantiate(cfg.trainer, logger=loggers, callbacks=callbacks, _convert_="all")
    set_gradient_accumulation(trainer, cfg.global_batch_size, cfg.batch_size)
    return trainer


def _metadata(cfg: DictConfig, datamodule: PairDataModule) -> dict[str, Any]:
    """Return the class names, palette and evaluation size to save with the model."""
    return plain_json(
        {
            "classes": list(datamodule.val.classes),
            "palette": [list(color) for color in datamodule.val.palette],
            "short_side": cfg.data.eval.short_side,
            "max_long_side": cfg.data.eval.max_long_side,
            "stage": cfg.stage.name,
            "data": cfg.data.name,
        }
    )
