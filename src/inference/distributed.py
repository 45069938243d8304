"""Division of clips or videos among several processes, and the exchange of their results."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")

# One process may finish days before another; torchrun and srun end the job when a process dies.
_TIMEOUT = timedelta(days=30)


class PeerEndedError(ConnectionError):
    """Raised if another process of the task has ended before its share was exchanged."""


@dataclass(frozen=True)
class World:
    """Rank of this process among the processes of one task. Processes exchange small objects on the CPU.

    Attributes:
        rank: index of this process, from 0.
        size: number of processes.
        local_rank: index of this process on its machine; selects its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """True in the process that writes and prints the common results."""
        return self.rank == 0

    def assign(self, costs: Sequence[float]) -> list[int]:
        """Return the items of this process. Every item belongs to exactly one process, at about equal total cost per process.

        Items are assigned in order of falling cost (any unit), each to the process with the least total so far; the assignment
        is the same in all processes. Returns ascending indices.
        """
        loads = [0.0] * self.size
        mine = []
        for item in sorted(range(len(costs)), key=lambda n: (-costs[n], n)):
            rank = loads.index(min(loads))
            loads[rank] += costs[item]
            if rank == self.rank:
                mine.append(item)
        return sorted(mine)

    def gather(self, value: T) -> list[T]:
        """Collect the value of every process, ordered by rank. Every process must call this.

        Raises:
            PeerEndedError: if another process has ended.
        """
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        with _ended_peers():
            dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Block until every process has called this."""
        if self.size > 1:
            with _ended_peers():
                dist.barrier()

    def device(self, name: str) -> str:
        """Replace ``auto`` by the GPU of this process where there are several processes; return other names unchanged."""
        gpus = torch.cuda.device_count()
        return f"cuda:{self.local_rank % gpus}" if name == "auto" and self.size > 1 and gpus else name


@contextmanager
def _ended_peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerEndedError("another process of this command has ended; expected all to finish; see its message") from error


SINGLE = World()


@contextmanager
def join_world(environment: Mapping[str, str] | None = None) -> Iterator[World]:
    """Join the processes that torchrun or srun started together with this one.

    Args:
        environment: environment variables; default: those of this process.

    Yields:
        The world, of size 1 if the process was started without torchrun and srun.

    Raises:
        ValueError: if srun started several processes and the rendezvous address is missing.
    """
    world = world_from_environment(os.environ if environment is None else environment)
    # A training run in this process may have joined before.
    joins = world.size > 1 and not dist.is_initialized()
    if joins:
        dist.init_process_group("gloo", rank=world.rank, world_size=world.size, timeout=_TIMEOUT)
    try:
        yield world
    finally:
        if joins:
            dist.destroy_process_group()


def world_from_environment(environment: Mapping[str, str]) -> World:
    """Read the variables of torchrun (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``) or srun (``SLURM_PROCID``, ...)."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return World(*(int(environment.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    # A shell of salloc has SLURM_NTASKS too, but only a step of srun has several processes.
    size = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if size == 1 or "SLURM_PROCID" not in environment:
        return SINGLE
    if "MASTER_ADDR" not in environment or "MASTER_PORT" not in environment:
        raise ValueError(
            f"MASTER_ADDR or MASTER_PORT is missing, but srun started {size} processes; expected both; before srun: export "
            "MASTER_PORT=29500 MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)"
        )
    return World(int(environment["SLURM_PROCID"]), size, int(environment.get("SLURM_LOCALID", 0)))
