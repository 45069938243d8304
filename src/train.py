"""Train one stage: ``python -m src.train experiment=<name> stage=segmentor|flow|propagation``."""

from __future__ import annotations

import logging
from pathlib import Path

import hydra
import lightning
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from src.command_line import quote_path_arguments
from src.training.module import PropagationModule
from src.training.wiring import build_propagator, find_checkpoint, plain
from src.weights.model_folder import save_model

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, float]:
    """Run the configured stage to its end and save the model folder.

    Args:
        cfg: the composed configuration of ``conf/train.yaml``.

    Returns:
        The last logged metrics.

    Raises:
        FileExistsError: if the run folder holds another run and neither ``resume`` nor ``overwrite`` is set.
    """
    run_dir = Path(cfg.run_dir)
    checkpoint = find_checkpoint(run_dir / "checkpoints", cfg.resume, cfg.overwrite)
    lightning.seed_everything(cfg.seed, verbose=False)
    datamodule = instantiate(cfg.datamodule)
    propagator = build_propagator(
        instantiate(cfg.stage.segmentor), instantiate(cfg.stage.flow), cfg.stage.init_from, cfg.model.warp_grid
    )
    module = PropagationModule(
        propagator,
        instantiate(cfg.stage.objective),
        instantiate(cfg.stage.optim),
        cfg.data.num_classes,
        plain(
            {
                "classes": list(datamodule.val.classes),
                "palette": [list(colour) for colour in datamodule.val.palette],
                "short_side": cfg.data.eval.short_side,
                "max_long_side": cfg.data.eval.max_long_side,
                "stage": cfg.stage.name,
                "data": cfg.data.name,
            }
        ),
        cfg.seed,
    )
    trainer = _trainer(cfg)
    trainable = sum(p.numel() for p in propagator.parameters() if p.requires_grad)
    total = sum(p.numel() for p in propagator.parameters())
    log.info("stage %s: %.3f M of %.3f M parameters train, into %s", cfg.stage.name, trainable / 1e6, total / 1e6, run_dir)
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt(f"stopped at step {trainer.global_step}; the same command with resume=true goes on")
    if trainer.is_global_zero:
        save_model(propagator, run_dir / "model", module.metadata)
        log.info("model saved to %s", run_dir / "model")
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _trainer(cfg: DictConfig) -> Trainer:
    loggers: list[Logger] = [instantiate(logger) for logger in cfg.logger.values() if logger]
    for logger in loggers:
        logger.log_hyperparams(plain(OmegaConf.to_container(cfg, resolve=True)))
    callbacks: list[Callback] = [instantiate(callback) for callback in cfg.callbacks.values() if callback]
    trainer: Trainer = instantiate(cfg.trainer, logger=loggers, callbacks=callbacks, _convert_="all")
    return trainer


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Train, then close the loggers: jobs of one multirun process would otherwise share a W&B run."""
    try:
        metrics = train(cfg)
        return metrics.get(cfg.monitor) if cfg.monitor else None
    finally:
        if any("wandb" in name for name in cfg.logger):
            import wandb

            wandb.finish()


if __name__ == "__main__":
    quote_path_arguments()
    main()
