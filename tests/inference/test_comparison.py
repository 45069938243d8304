import pytest
import torch

from src.inference.comparison import RunOptions, check_classes, evaluate_methods, jobs
from src.inference.methods import with_method
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator


def test_every_frame_runs_once_whatever_the_method() -> None:
    assert jobs(["per_frame", "copy", "query"], [1, 5]) == [
        ("per_frame", 1),
        ("copy", 1),
        ("copy", 5),
        ("query", 1),
        ("query", 5),
    ]
    with pytest.raises(ValueError, match="nothing to evaluate"):
        jobs(["copy"], [])


def test_interval_one_is_shared_and_only_the_first_job_is_saved() -> None:
    propagator = tiny_propagator()
    methods = {name: with_method(propagator, name) for name in ("copy", "query")}
    saved: list[tuple[int, int]] = []
    results = evaluate_methods(
        methods, FakeClips((3,)), [1, 2], RunOptions(phases="first"), sink=lambda clip, frame, found: saved.append((clip, frame))
    )
    assert [one.title for one in results] == ["copy, k=1", "copy, k=2", "query, k=1", "query, k=2"]
    assert results[0].result is results[2].result and results[1].result is not results[3].result
    assert saved == [(0, 0), (0, 1), (0, 2)]
    assert torch.equal(results[1].result.confusion.sum(1), results[3].result.confusion.sum(1))


def test_other_classes_are_refused() -> None:
    check_classes({"classes": list(CLASSES)}, FakeClips())
    check_classes({}, FakeClips())
    with pytest.raises(ValueError, match="class 1 is 'water' in the model and 'road' in the data"):
        check_classes({"classes": ["sky", "water", "tree", "car"]}, FakeClips())
    with pytest.raises(ValueError, match="trained for 2 classes, the data has 4"):
        check_classes({"classes": ["sky", "road"]}, FakeClips())
