"""Division of clips among several processes, and the exchange of their results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")
Share = Callable[[Sequence[float], Callable[[Sequence[int]], T], Callable[[int, int], None] | None], list[T]]
"""Function of the costs of clips, any unit, and of a function that returns the scores of some of them, by number.

It returns scores that together are of all clips. Third: called with (cost done, cost in total) where other processes work.
"""


@dataclass(frozen=True)
class World:
    """Rank of this process among the processes of one training. Processes exchange small objects on the CPU.

    Attributes:
        rank: index of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

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

    def share(
        self, costs: Sequence[float], score: Callable[[Sequence[int]], T], progress: Callable[[int, int], None] | None = None
    ) -> list[T]:
        """Score the clips of this process, and return the scores of every process, by rank; every process must call this."""
        value = score(self.assign(costs))
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        dist.all_gather_object(values, value)
        return values


SINGLE = World()
