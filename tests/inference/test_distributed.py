"""Laws of sharing: each item is exactly one process's."""

import pytest

from src.inference.distributed import SINGLE, World, join_world, world_from_environment


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_item_is_exactly_one_share_and_the_shares_cost_alike(count: int) -> None:
    costs = [9, 1, 4, 4, 2, 30, 7, 7, 1, 3, 5, 2]
    shares = [World(index, count).share(costs) for index in range(count)]
    assert sorted(item for share in shares for item in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)
    loads = [sum(costs[item] for item in share) for share in shares]
    # Longest first: nobody has more than the mean and one item on top.
    assert max(loads) <= max(30, sum(costs) / count + max(costs[:5]))


def test_more_processes_than_items_leave_some_without() -> None:
    assert [World(index, 3).share([5.0, 6.0]) for index in range(3)] == [[1], [0], []]


def test_torchrun_and_srun_say_who_this_is() -> None:
    assert world_from_environment({}) == SINGLE
    assert world_from_environment({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "SLURM_PROCID": "0"}) == World(3, 4, 1)
    srun = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert world_from_environment(srun) == World(5, 8, 1)
    # In the shell of an allocation, outside srun.
    assert world_from_environment({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) == SINGLE
    with pytest.raises(ValueError, match="nothing says where they meet: export MASTER_PORT"):
        world_from_environment({name: value for name, value in srun.items() if name != "MASTER_ADDR"})


def test_alone_nothing_is_exchanged_and_devices_stay() -> None:
    with join_world({}) as ranks:
        assert ranks.gather("x") == ["x"] and ranks.is_first
        ranks.wait()
    assert SINGLE.device("auto") == "auto" and World(1, 2, 1).device("cpu") == "cpu"


def test_each_process_of_a_machine_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [World(8 + local, 16, local).device("auto") for local in (0, 3)] == ["cuda:0", "cuda:3"]
    assert SINGLE.device("auto") == "auto"
