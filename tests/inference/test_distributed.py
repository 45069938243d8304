"""Laws of the division among processes: every item belongs to exactly one."""

from typing import Any

import pytest

from src.inference import distributed
from src.inference.distributed import SINGLE, World


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_item_is_assigned_once_at_about_equal_cost(size: int) -> None:
    costs = [9, 1, 4, 4, 2, 30, 7, 7, 1, 3, 5, 2]
    shares = [World(rank, size).assign(costs) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)
    loads = [sum(costs[item] for item in share) for share in shares]
    # Most expensive first: no process exceeds the mean by more than one item.
    assert max(loads) <= max(30, sum(costs) / size + max(costs[:5]))


def test_with_more_processes_than_items_some_get_none() -> None:
    assert [World(rank, 3).assign([5.0, 6.0]) for rank in range(3)] == [[1], [0], []]


def test_a_process_scores_its_items_and_gets_the_scores_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(values: list[Any], value: Any) -> None:
        values[:] = ["of rank 0", value]

    assert SINGLE.share([5.0, 6.0], list) == [[0, 1]]
    monkeypatch.setattr(distributed.dist, "all_gather_object", gather)
    assert World(1, 2).share([5.0, 6.0], list) == ["of rank 0", [0]]
