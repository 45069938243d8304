"""Training of one stage, and the repetition of a broken step: the work of ``python -m src.train``."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from src.commands.hub.card import check_target, describe
from src.commands.loggers import configured_loggers
from src.commands.own_data import fill_from_files
from src.commands.run_settings import option_values, record_command, run_settings
from src.data.datamodule import PairDataModule
from src.files.own_package import NAME
from src.inference.flow_choice import saved_colors
from src.models.propagator import Propagator
from src.training.checkpointing.checkpoint_files import CHECKPOINT_FOLDER, checkpoints_by_step
from src.training.checkpointing.earlier_run import EarlierRun
from src.training.checkpointing.nonfinite import NonFiniteStep
from src.training.checkpointing.periodic_checkpoint import PeriodicCheckpoint
from src.training.checkpointing.replay import replay_step
from src.training.checkpointing.resume import find_checkpoint
from src.training.checkpointing.run_files import write_run_file
from src.training.checkpointing.run_lock import run_lock
from src.training.checkpointing.run_record import RunRecord
from src.training.clips import ClipModule, build_clip_segmentor
from src.training.logging.dashboards import git_state
from src.training.logging.resilient_wandb import ResilientWandbLogger
from src.training.module import PropagationModule
from src.training.segmentation_module import SegmentationModule
from src.training.strategies import explain_lost_processes, full_model
from src.training.wiring import build_propagator, check_trainable, set_gradient_accumulation
from src.weights.clip_folder import load_clip_model
from src.weights.folder_files import CARD_FILE, plain_json
from src.weights.hub.upload import push_folder
from src.weights.model_folder import load_model

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, float]:
    """Run the stage of ``conf/train.yaml`` to its end and save the model folder.

    Returns:
        The last logged metrics; empty if the resumed run had already reached its last step.
    """
    fill_from_files(cfg.data)
    run_dir = Path(cfg.run_dir)
    if cfg.hub.push and cfg.job is not None:
        raise ValueError(
            f"hub.push is true in job {cfg.job} of a multirun, whose jobs would replace one another's model; expected false; "
            "push the best one by src.push"
        )
    # The other processes would send the same request.
    if not getattr(rank_zero_only, "rank", 0):
        check_target(cfg.hub, cfg.hub.push, run_dir / "model")
    with run_lock(run_dir):
        return _train(cfg, run_dir)


def replay(cfg: DictConfig) -> dict[str, float]:
    """Repeat the failed step saved in ``cfg.replay``; see :func:`src.training.checkpointing.replay.replay_step`."""
    fill_from_files(cfg.data)
    folder = Path(cfg.replay)
    step = NonFiniteStep.read(folder)
    objective, optim = instantiate(cfg.stage.objective), instantiate(cfg.stage.optim)
    if cfg.stage.name == "clips":
        segmentor, metadata = load_clip_model(folder / "model")
        module: SegmentationModule = ClipModule(segmentor, objective, optim, cfg.data.num_classes, metadata, cfg.seed)
    else:
        propagator, metadata = load_model(folder / "model")
        module = PropagationModule(propagator, objective, optim, cfg.data.num_classes, metadata, cfg.seed)
    trainer = instantiate(cfg.trainer, logger=False, callbacks=[], _convert_="all")
    return replay_step(module, step, trainer)


def _train(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    earlier = EarlierRun(run_dir)
    earlier.settle(wait=not cfg.overwrite)
    checkpoint = find_checkpoint(run_dir, cfg.resume, cfg.overwrite)
    lightning.seed_everything(cfg.seed, verbose=False)
    options = option_values(cfg)
    # First the fast parts: a misspelt key should not wait for data and weights.
    trainer = _trainer(cfg)
    module, datamodule = _module(cfg)
    record = RunRecord(run_settings(options, trainer, datamodule, module.model_config()))
    if checkpoint is not None:
        record.check(checkpoint, force=cfg.resume == "force")
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.append(record)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, PeriodicCheckpoint):
            callback.run, callback.after_save = record.run, earlier.remove
    with earlier.replaced_by(record.run) if cfg.overwrite else nullcontext():
        if trainer.is_global_zero:
            write_run_file(run_dir, record.run)
            record_command(cfg, run_dir)
        return _fit(cfg, trainer, module, datamodule, checkpoint)


def _module(cfg: DictConfig) -> tuple[SegmentationModule, PairDataModule]:
    objective, optim = instantiate(cfg.stage.objective), instantiate(cfg.stage.optim)
    datamodule = instantiate(cfg.datamodule)
    init_from = cfg.stage.init_from
    if cfg.overwrite and init_from is not None and Path(init_from).resolve().is_relative_to(Path(cfg.run_dir).resolve()):
        raise ValueError(
            f"stage.init_from={init_from} is in the run that overwrite=true replaces; choose another folder (name=<other>)"
        )
    if cfg.stage.name == "clips":
        segmentor = build_clip_segmentor(instantiate(cfg.stage.segmentor, _convert_="all"), init_from, cfg.data.num_classes)
        clips = ClipModule(segmentor, objective, optim, cfg.data.num_classes, _metadata(cfg, datamodule), cfg.seed)
        return clips, datamodule
    propagator = build_propagator(
        instantiate(cfg.stage.segmentor),
        instantiate(cfg.stage.flow),
        init_from,
        cfg.model.warp_grid,
        cfg.data.num_classes,
        new_class_head=cfg.stage.name in ("segmentor", "recurrent"),
        fusion_dim=cfg.stage.get("fusion_dim"),
    )
    module = PropagationModule(propagator, objective, optim, cfg.data.num_classes, _metadata(cfg, datamodule), cfg.seed)
    check_trainable(propagator, objective.trainable, init_from if cfg.stage.flow is None else None)
    return module, datamodule


def _fit(
    cfg: DictConfig, trainer: Trainer, module: SegmentationModule, datamodule: PairDataModule, checkpoint: Path | None
) -> dict[str, float]:
    run_dir, network = Path(cfg.run_dir), module.network
    for logger in trainer.loggers:
        settings: Any = OmegaConf.to_container(cfg, resolve=True)
        logger.log_hyperparams(settings | {"git": git_state(Path(__file__).parent)})
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    total = sum(p.numel() for p in network.parameters())
    log.info("stage %s: %.3f M of %.3f M parameters train; run folder %s", cfg.stage.name, trainable / 1e6, total / 1e6, run_dir)
    try:
        with explain_lost_processes(trainer):
            trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit, and StopOnSignal exits by itself.
        # With overwrite=true the command would start again.
        again = f"the same command with resume=true{' and without overwrite=true' if cfg.overwrite else ''}"
        saved = (
            f"{again} continues from its last checkpoint"
            if checkpoints_by_step(run_dir / CHECKPOINT_FOLDER)
            else "nothing is saved"
        )
        log.warning("stopped at step %d; %s", trainer.global_step, saved)
        raise
    whole = full_model(network, trainer) if isinstance(network, Propagator) else network
    if trainer.is_global_zero:
        module.save(whole, run_dir / "model")
        log.info("model saved to %s", run_dir / "model")
        if cfg.upload_model:
            for logger in trainer.loggers:
                if isinstance(logger, ResilientWandbLogger):
                    logger.log_model_folder(run_dir / "model", f"{cfg.name}-{cfg.stage.name}")
        _share(cfg, run_dir / "model", {name: float(value) for name, value in trainer.callback_metrics.items()})
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _share(cfg: DictConfig, folder: Path, metrics: dict[str, float]) -> None:
    """Write the card of the trained model and upload it, as ``cfg.hub`` requests."""
    if cfg.hub.repo_id is None:
        return
    command = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else None
    code = git_state(Path(__file__).parent).get("commit")
    describe(folder, cfg.hub, None, metrics, command, None if code is None else str(code))
    log.info("written: %s", folder / CARD_FILE)
    if cfg.hub.push:
        try:
            push_folder(folder, cfg.hub.repo_id, cfg.hub.private)
        except OSError as error:
            again = f"python -m {NAME}.push input={folder} repo_id={cfg.hub.repo_id}"
            raise OSError(f"the model is saved to {folder}, but not uploaded: {error}; try again by: {again}") from error


def _trainer(cfg: DictConfig) -> Trainer:
    loggers = configured_loggers(cfg.logger)
    if cfg.upload_model and not any(isinstance(logger, ResilientWandbLogger) for logger in loggers):
        raise ValueError(
            "upload_model=true uploads to W&B, which is not used; expected an API key (`wandb login`) or logger=both"
        )
    callbacks: list[Callback] = [instantiate(callback) for callback in cfg.callbacks.values() if callback]
    trainer: Trainer = instantiate(cfg.trainer, logger=loggers, callbacks=callbacks, _convert_="all")
    set_gradient_accumulation(trainer, cfg.global_batch_size, cfg.batch_size)
    return trainer


def _metadata(cfg: DictConfig, datamodule: PairDataModule) -> dict[str, Any]:
    """Return the class names, palette and evaluation size to save with the model."""
    return plain_json(
        saved_colors(datamodule.val.classes, datamodule.val.chosen_colors)
        | {
            "short_side": cfg.data.eval.short_side,
            "max_long_side": cfg.data.eval.max_long_side,
            "stage": cfg.stage.name,
            "data": cfg.data.name,
        }
    )
