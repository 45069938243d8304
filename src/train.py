"""Train one stage: ``python -m src.train experiment=<name> stage=segmentor|flow|propagation|fusion``."""

import logging
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.command_line.arguments import check_choices
from src.command_line.command import check_given, command
from src.command_line.errors import is_of_the_user, one_line

log = logging.getLogger(__name__)


@command("train", checked=False)
def main(cfg: DictConfig) -> float | None:
    """Train, or repeat the broken step of ``replay``; a job of a multirun has the run folder that Hydra assigns to it.

    Raises:
        ValueError: if ``monitor`` is no logged metric, a group choice has no effect, or a multirun uses several devices.
    """
    job = HydraConfig.get()
    multirun = job.mode is RunMode.MULTIRUN
    check_choices(cfg, [*job.overrides.task, *job.overrides.hydra], multirun)
    if not multirun:
        return _run(cfg)
    devices = cfg.trainer.devices
    if (len(devices) if OmegaConf.is_list(devices) else devices) != 1:
        # Lightning starts further processes with the same command line: each would run the sweep again.
        raise ValueError(f"trainer.devices={devices}: the jobs of a multirun train on one device each")
    cfg.run_dir, cfg.job = job.runtime.output_dir, job.job.num
    if not (Path(cfg.run_dir) / ".hydra").exists():
        from src.commands.run_settings import record_command  # takes seconds

        record_command(cfg, Path(cfg.run_dir))  # the table of the jobs names those that fail
    return _job(cfg)


def _job(cfg: DictConfig) -> float | None:
    """Run one job of a multirun; a failure is written to ``failed.txt``, and jobs that do not start from it continue."""
    failed = Path(cfg.run_dir) / "failed.txt"
    failed.unlink(missing_ok=True)
    try:
        if cfg.stage.init_from is not None and Path(cfg.stage.init_from).with_name(failed.name).exists():
            raise ValueError(f"stage.init_from={cfg.stage.init_from} is of a job that failed; expected a model of one that ended")
        return _run(cfg)
    except Exception as error:
        log.error("job %d failed: %s", cfg.job, one_line(error), exc_info=not is_of_the_user(error))
        failed.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        # A searching sweeper counts NaN as a failed trial.
        return float("nan")


def _run(cfg: DictConfig) -> float | None:
    check_given("train", cfg)
    # After the check of the options: these imports take seconds.
    from src.commands.train import replay, train
    from src.training.wiring import quiet_other_ranks, silence_lightning

    silence_lightning()
    quiet_other_ranks()
    if cfg.replay is not None:
        replay(cfg)
        return None
    try:
        metrics = train(cfg)
    finally:
        if "wandb" in sys.modules:
            # Jobs of one multirun process would otherwise share a W&B run.
            sys.modules["wandb"].finish()
    if cfg.monitor is None:
        return None
    if cfg.monitor not in metrics:
        raise ValueError(f"monitor={cfg.monitor} is not logged; expected one of {', '.join(sorted(metrics)) or 'no metrics'}")
    return metrics[cfg.monitor]


if __name__ == "__main__":
    main()
