"""Engine of a command: this process, or workers of Ray."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from src.inference.engines.tasks import Build, LocalSession, Session
from src.inference.evaluation.progress import heartbeat


def check_local(cfg: DictConfig, reason: str) -> None:
    """Raise a ``ValueError`` with the reason if work that cannot be shared is configured for several workers."""
    if cfg.engine.name != "local":
        raise ValueError(f"engine is {cfg.engine.name}, and {reason}; expected engine=local")


def check_alone(cfg: DictConfig) -> None:
    """Raise a ``ValueError`` if torchrun or srun has started this command several times, and no cluster is to be joined."""
    for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        if cfg.engine.get("address") is None and int(os.environ.get(name, 1)) > 1:
            raise ValueError(
                f"{name} is {os.environ[name]}, so this command runs as often; expected once: without torchrun and srun, with "
                "engine=ray for several processes (docs/distributed.md)"
            )


@contextmanager
def engine_session(cfg: DictConfig, build: Build, local: Build) -> Iterator[Session]:
    """Yield the configured workers, which are ended after the block.

    Args:
        cfg: configuration with ``conf/engine`` and ``device``.
        build: loads what the tasks need in a worker process.
        local: the same in this process.
    """
    if cfg.engine.name == "local":
        yield LocalSession(local)
        return
    from src.inference.engines.ray_cluster import RayOptions, ray_session  # optional, and slow to import

    options = {name: value for name, value in cfg.engine.items() if name != "name"}
    if str(cfg.device) == "cpu" and options["gpus"] is None:
        options["gpus"] = 0
    with ray_session(build, RayOptions(**options), heartbeat("starting Ray")) as session:
        yield session
