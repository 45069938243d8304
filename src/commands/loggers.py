"""Loggers of a configuration."""

from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig


def configured_loggers(nodes: DictConfig) -> list[Logger]:
    """Return the loggers of a choice of ``conf/logger``, without W&B where it is not configured."""
    made = (instantiate(node) for node in nodes.values() if node)
    return [logger for logger in made if logger is not None]
