"""W&B logger whose failures do not end training."""

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)


def _tolerant(method: Callable[..., None]) -> Callable[..., None]:
    """Wrap a logging method: its first failure is reported and ends the logging instead of the run."""

    @wraps(method)
    @rank_zero_only
    def tolerant(*args: Any, **kwargs: Any) -> None:
        logger: Any = args[0]
        if logger.failure is not None:
            return
        try:
            method(*args, **kwargs)
        # A dead W&B process raises errors of many libraries, and training must survive all of them.
        except Exception as error:
            logger.failure = error
            log.error(
                "W&B failed (%s: %s) and is switched off for this run; upload the logged part with: wandb sync %s/wandb",
                type(error).__name__,
                error,
                logger.save_dir,
            )

    return tolerant


class ResilientWandbLogger(WandbLogger):
    """W&B logger that starts offline if it cannot start online, and only stops logging after a failure.

    Takes the arguments of :class:`lightning.pytorch.loggers.WandbLogger`.

    Attributes:
        failure: error that ended the logging, or ``None``.
    """

    failure: Exception | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B run, started on first use."""
        import wandb  # takes a second, and most runs without W&B never need it

        try:
            return WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]
        except wandb.errors.Error as error:
            if self._wandb_init.get("mode") != "online":
                raise
            log.error("W&B cannot start an online run (%s); the run is offline, upload it later with: wandb sync", error)
        # After a failed start the service fails offline runs as well.
        wandb.teardown()
        self._wandb_init["mode"] = "offline"
        return WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]

    @_tolerant
    def log_model_folder(self, folder: Path, name: str) -> None:
        """Upload a model folder as an artifact; an offline run stores it for ``wandb sync``."""
        import wandb  # takes a second, and most runs without W&B never need it

        artifact = wandb.Artifact(name, type="model")
        artifact.add_dir(str(folder))
        self.experiment.log_artifact(artifact)

    log_metrics = _tolerant(WandbLogger.log_metrics)
    log_hyperparams = _tolerant(WandbLogger.log_hyperparams)
    log_table = _tolerant(WandbLogger.log_table)
    log_image = _tolerant(WandbLogger.log_image)
    log_video = _tolerant(WandbLogger.log_video)
    finalize = _tolerant(WandbLogger.finalize)
