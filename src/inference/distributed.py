"""Several processes that share out clips or videos between them: who am I, what is mine, what did the others find."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")

# One process may be done days before another; one that died is noticed by what started them.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class World:
    """This process among those that work on one task; processes exchange small objects on the CPU, whatever the networks run on.

    Attributes:
        index: of this process.
        count: how many there are.
        local_index: of this process on its machine, which numbers its GPU.
    """

    index: int = 0
    count: int = 1
    local_index: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes and says what is common to all."""
        return self.index == 0

    def share(self, costs: Sequence[float]) -> list[int]:
        """Which items are this process's: each is exactly one's, none is cut, and the shares cost about the same.

        The dearest item goes first, each to the process with the least so far; all processes find the same shares.

        Args:
            costs: of the items, in any unit.

        Returns:
            Their indices, ascending.
        """
        loads = [0.0] * self.count
        mine = []
        for item in sorted(range(len(costs)), key=lambda n: (-costs[n], n)):
            rank = loads.index(min(loads))
            loads[rank] += costs[item]
            if rank == self.index:
                mine.append(item)
        return sorted(mine)

    def gather(self, value: T) -> list[T]:
        """What every process has, in their order; all of them must call this."""
        if self.count == 1:
            return [value]
        values: list[T] = [value] * self.count
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def device(self, name: str) -> str:
        """The device for ``auto``: each process of a machine takes a GPU of its own. Other names stay."""
        gpus = torch.cuda.device_count()
        return f"cuda:{self.local_index % gpus}" if name == "auto" and self.count > 1 and gpus else name


SINGLE = World()


@contextmanager
def join_world(environment: Mapping[str, str] | None = None) -> Iterator[World]:
    """Join the processes that torchrun or srun started beside this one; alone where none did.

    Args:
        environment: variables that say so; default those of the process.

    Yields:
        This process among them.

    Raises:
        ValueError: if srun started several and nothing says where they meet.
    """
    ranks = world_from_environment(os.environ if environment is None else environment)
    # A training run in this process may have joined them before.
    joins = ranks.count > 1 and not dist.is_initialized()
    if joins:
        dist.init_process_group("gloo", rank=ranks.index, world_size=ranks.count, timeout=_PATIENCE)
    try:
        yield ranks
    finally:
        if joins:
            dist.destroy_process_group()


def world_from_environment(environment: Mapping[str, str]) -> World:
    """What torchrun (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``) or srun (``SLURM_PROCID``, ...) say.

    Raises:
        ValueError: see :func:`join_world`.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return World(*(int(environment.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    # Only inside a step of srun; a shell of salloc has SLURM_NTASKS too, and is alone.
    count = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if count == 1 or "SLURM_PROCID" not in environment:
        return SINGLE
    if "MASTER_ADDR" not in environment or "MASTER_PORT" not in environment:
        raise ValueError(
            f"srun started {count} processes, and nothing says where they meet: export MASTER_PORT=29500 "
            "MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1) before srun"
        )
    return World(int(environment["SLURM_PROCID"]), count, int(environment.get("SLURM_LOCALID", 0)))
