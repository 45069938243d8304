"""Workers as actors of Ray, an optional package: on this machine, or on a cluster that is joined."""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.files.own_package import package_path
from src.inference.engines.tasks import Build, TaskQueue, WorkerDiedError

# Read when Ray is imported: nothing is reported to its makers.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
try:
    import ray
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "Ray is not installed; engine=ray needs it: pip install -r requirements-cluster.txt", name="ray"
    ) from error

_OBJECT_STORE = 128 * 2**20  # bytes; results are small, videos and label maps are files


@dataclass(frozen=True)
class RayOptions:
    """Settings of ``conf/engine/ray.yaml``.

    Attributes:
        address: address of a cluster, ``auto`` for the one of this machine; ``None``: a cluster for this command only.
        workers: number of workers; ``None``: as many as the cluster has room for.
        cpus: CPUs of a worker.
        gpus: share of a GPU, or number of GPUs, of a worker; ``None``: 1 if the cluster has any.
        retries: see :class:`TaskQueue`.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None
    retries: int = 2


@contextmanager
def ray_session(build: Build, options: RayOptions, starting: AbstractContextManager[None]) -> Iterator[TaskQueue]:
    """Join or start a cluster during the block; its workers load what ``build`` loads, once each.

    Workers run in this process's current folder, which has to exist on their machines, and import this package from its place
    here or, if it does not exist there, from their own installation. ``starting`` is entered while the cluster starts.

    Raises:
        ConnectionError: if there is no cluster at the address.
        ValueError: if the cluster has no room for the workers.
    """
    root = str(package_path("src").parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
    common: dict[str, Any] = {"runtime_env": environment, "log_to_driver": True, "configure_logging": False}
    with ExitStack() as stack:
        local: dict[str, Any] = {}
        if options.address is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
            local = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE, "_temp_dir": folder}
        with starting, _signals_kept():
            ray.init(options.address or "local", **local, **common)
        stack.callback(ray.shutdown)
        yield TaskQueue(_RayCluster(build, options), options.retries)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore the handlers of signals after the block: Ray ends the process at SIGTERM, before its results are whole."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items() if threading.current_thread() is threading.main_thread() else ():
            signal.signal(number, handler)


class _RayCluster:
    """Cluster of :class:`TaskQueue`."""

    def __init__(self, build: Build, options: RayOptions) -> None:
        found = ray.cluster_resources()
        cpus, devices = found.get("CPU", 0), found.get("GPU", 0)
        gpus = min(1.0, devices) if options.gpus is None else options.gpus
        room = int(min(cpus // options.cpus, devices // gpus if gpus else float("inf")))
        self.workers = room if options.workers is None else options.workers
        # A joined cluster may grow on demand.
        if not self.workers or (options.address is None and self.workers > room):
            raise ValueError(
                f"the cluster has {cpus:g} CPUs and {devices:g} GPUs, room for {room} workers of {options.cpus:g} CPUs and "
                f"{gpus:g} GPUs; expected room for {max(1, self.workers)}: lower engine.workers, engine.cpus or engine.gpus"
            )
        self._build = build
        self._actor = ray.remote(_Worker).options(num_cpus=options.cpus, num_gpus=gpus, max_restarts=0)

    def start(self) -> tuple[Any, Any]:
        worker = self._actor.remote(str(Path.cwd()))
        return worker, worker.load.remote(self._build)

    def submit(self, worker: Any, task: Any) -> Any:
        return worker.run.remote(task)

    def wait(self, tickets: Sequence[Any], seconds: float) -> Sequence[Any]:
        done: Sequence[Any] = ray.wait(list(tickets), num_returns=1, timeout=seconds)[0]
        return done

    def result(self, ticket: Any) -> Any:
        try:
            return ray.get(ticket)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        except ray.exceptions.RayError as error:
            raise WorkerDiedError(f"the worker process ended: {str(error).strip().splitlines()[0]}") from error

    def kill(self, worker: Any) -> None:
        ray.kill(worker, no_restart=True)


class _Worker:
    """Actor of one worker process."""

    def __init__(self, folder: str) -> None:
        os.chdir(folder)
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")

    def load(self, build: Build) -> None:
        self._work = build()

    def run(self, task: Any) -> Any:
        return self._work(task)
