"""Laws of the division among processes: every item belongs to exactly one."""

from collections.abc import Callable

import pytest

from src.inference import distributed
from src.inference.distributed import SINGLE, PeerEndedError, World, join_world, world_from_environment


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


def test_the_world_is_read_from_torchrun_and_srun() -> None:
    assert world_from_environment({}) == SINGLE
    assert world_from_environment({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "SLURM_PROCID": "0"}) == World(3, 4, 1)
    srun = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert world_from_environment(srun) == World(5, 8, 1)
    # The shell of an allocation, outside srun.
    assert world_from_environment({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) == SINGLE
    with pytest.raises(ValueError, match="MASTER_ADDR or MASTER_PORT is missing"):
        world_from_environment({name: value for name, value in srun.items() if name != "MASTER_ADDR"})


def test_a_single_process_gathers_its_own_value_and_keeps_its_device() -> None:
    with join_world({}) as world:
        assert world.gather("x") == ["x"] and world.is_first
        world.wait()
    assert SINGLE.device("auto") == "auto" and World(1, 2, 1).device("cpu") == "cpu"


def test_each_process_of_a_machine_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [World(8 + local, 16, local).device("auto") for local in (0, 3)] == ["cuda:0", "cuda:3"]
    assert SINGLE.device("auto") == "auto"


@pytest.mark.parametrize("exchange", [lambda world: world.gather(1), lambda world: world.wait()])
def test_the_end_of_another_process_is_named(monkeypatch: pytest.MonkeyPatch, exchange: Callable[[World], object]) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("[tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:22")

    monkeypatch.setattr(distributed.dist, "all_gather_object", closed)
    monkeypatch.setattr(distributed.dist, "barrier", closed)
    with pytest.raises(PeerEndedError, match="another process of this command has ended"):
        exchange(World(0, 2))
