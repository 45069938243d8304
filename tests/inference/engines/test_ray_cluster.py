"""Laws of the workers of Ray, on one local cluster."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from src.inference.engines.tasks import TaskOptions, TaskQueue
from tests.inference.engines.ray_work import build

pytest.importorskip("ray", reason="Ray is not installed (requirements-cluster.txt)")
from src.inference.engines.ray_cluster import RayOptions, _RayCluster, ray_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[TaskQueue]:
    with ray_session(partial(build, folder), RayOptions(workers=2, gpus=0, retries=1), nullcontext()) as queue:
        yield queue


def test_a_killed_worker_is_replaced_and_an_error_is_the_result_of_its_task(session: TaskQueue) -> None:
    lost: list[str] = []
    found = dict(session.run(["killed", "broken", "a", "b", "c"], TaskOptions(lost=lost.append)))
    assert found.keys() == {"killed", "broken", "a", "b", "c"} and lost == ["killed"]
    assert isinstance(found["broken"], ValueError) and str(found["broken"]) == "no such clip"
    done = [result for task, result in found.items() if task != "broken"]
    assert [result[0] for result in done] == [task for task in found if task != "broken"]
    assert {result[2] for result in done} == {os.getcwd()} and os.getpid() not in {result[1] for result in done}


def test_more_workers_than_there_is_room_for_are_refused(session: TaskQueue) -> None:
    with pytest.raises(ValueError, match=r"room for \d+ workers of 1 CPUs and 0 GPUs; expected room for 999: lower"):
        _RayCluster(lambda: len, RayOptions(workers=999, gpus=0))
    with pytest.raises(ValueError, match="room for 0 workers"):
        _RayCluster(lambda: len, RayOptions(cpus=9999))


def test_without_ray_the_error_names_the_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "src.inference.engines.ray_cluster")
    with pytest.raises(ModuleNotFoundError, match=r"engine=ray needs it: pip install -r requirements-cluster\.txt"):
        importlib.import_module("src.inference.engines.ray_cluster")
