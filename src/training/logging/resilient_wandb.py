"""A W&B logger that training outlives: whatever happens to the server or to W&B's own process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)


def _survived(method: Callable[..., None]) -> Callable[..., None]:
    """The method, whose first failure is logged and ends the logging instead of the run."""

    @wraps(method)
    @rank_zero_only
    def careful(*args: Any, **kwargs: Any) -> None:
        logger: Any = args[0]
        if logger.failure is not None:
            return
        try:
            method(*args, **kwargs)
        # W&B's process answers with errors of many libraries when it has died; what they are makes no difference to training.
        except Exception as error:
            logger.failure = error
            log.error(
                "W&B failed (%s: %s): nothing more goes there; what was logged is in %s/wandb, for `wandb sync`",
                type(error).__name__,
                error,
                logger.save_dir,
            )

    return careful


class ResilientWandbLogger(WandbLogger):
    """Lightning's logger, but a run that cannot start online starts offline, and a failure ends the logging alone.

    Takes the arguments of :class:`lightning.pytorch.loggers.WandbLogger`.

    Attributes:
        failure: what ended the logging, or ``None``.
    """

    failure: Exception | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun on first use."""
        import wandb  # takes a second, and most tests never log to it

        try:
            return WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]
        except wandb.errors.Error as error:
            if self._wandb_init.get("mode") != "online":
                raise
            log.error("W&B cannot start a run (%s): it is offline; upload later with: wandb sync", error)
        # The service remembers the failed start, and would fail an offline one too.
        wandb.teardown()
        self._wandb_init["mode"] = "offline"
        return WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]

    @_survived
    def log_model_folder(self, folder: Path, name: str) -> None:
        """Upload a model folder as an artifact; an offline run keeps it for ``wandb sync``."""
        import wandb  # takes a second, and most tests never log to it

        artifact = wandb.Artifact(name, type="model")
        artifact.add_dir(str(folder))
        self.experiment.log_artifact(artifact)

    log_metrics = _survived(WandbLogger.log_metrics)
    log_hyperparams = _survived(WandbLogger.log_hyperparams)
    log_table = _survived(WandbLogger.log_table)
    log_image = _survived(WandbLogger.log_image)
    log_video = _survived(WandbLogger.log_video)
    finalize = _survived(WandbLogger.finalize)
