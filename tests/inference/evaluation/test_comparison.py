import pytest
import torch

from src.inference.evaluation.clips import EvaluationOptions
from src.inference.evaluation.comparison import Job, check_classes, evaluate_methods, jobs
from src.inference.evaluation.fusing import PLAIN, Fusing, fusings
from src.inference.methods import with_method
from src.inference.scheduling.adaptive import Adaptive
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator


def test_every_frame_runs_once_whatever_the_method() -> None:
    assert [job[:3] for job in jobs(["per_frame", "copy", "query"], [1, 5])] == [
        ("per_frame", "fixed", 1),
        ("copy", "fixed", 1),
        ("copy", "fixed", 5),
        ("query", "fixed", 1),
        ("query", "fixed", 5),
    ]
    # Where every frame is a key frame, other schedulers have nothing to choose.
    assert [job[:3] for job in jobs(["per_frame", "copy"], [1, 5], ["fixed", "adaptive"])] == [
        ("per_frame", "fixed", 1),
        ("copy", "fixed", 1),
        ("copy", "fixed", 5),
        ("copy", "adaptive", 5),
    ]
    with pytest.raises(ValueError, match="nothing to evaluate"):
        jobs(["copy"], [])


def test_other_schedulers_run_once_per_interval_shift() -> None:
    methods = {"copy": with_method(tiny_propagator(), "copy")}
    made: list[tuple[int, float]] = []

    def make(job: Job, interval_shift: float) -> Adaptive:
        made.append((job.key_interval, interval_shift))
        return Adaptive(job.key_interval, weight=0.0, interval_shift=interval_shift)

    options = EvaluationOptions(interval_shifts=3)
    results = list(evaluate_methods(methods, FakeClips((8,)), [3], options, schedulers={"fixed": None, "adaptive": make}))
    assert [one.key for one in results] == ["copy_k3", "copy_adaptive_k3"] and results[1].title == "copy, adaptive, k=3"
    assert made == [(3, 0.0), (3, 1 / 3), (3, 2 / 3)] and results[1].result.runs == 3
    # Three interval shifts of an interval of three are its three phases.
    assert results[0].result.miou == pytest.approx(results[1].result.miou)
    assert results[0].result.key_share == results[1].result.key_share
    with pytest.raises(ValueError, match="expected schedulers=\\[fixed\\], found 'adaptive'"):
        list(evaluate_methods(methods, FakeClips((8,)), [3], EvaluationOptions(protocol="pairs"), schedulers={"adaptive": make}))


def test_interval_one_is_shared_and_only_the_first_job_is_saved() -> None:
    propagator = tiny_propagator()
    methods = {name: with_method(propagator, name) for name in ("copy", "query")}
    saved: list[tuple[int, int]] = []
    options = EvaluationOptions(key_frame_offsets="first")
    keep = lambda clip, frame, found: saved.append((clip, frame))  # noqa: E731
    results = list(evaluate_methods(methods, FakeClips((3,)), [1, 2], options, on_semantic_map=keep))
    assert [one.title for one in results] == ["copy, k=1", "copy, k=2", "query, k=1", "query, k=2"]
    assert results[0].result is results[2].result and results[1].result is not results[3].result
    assert saved == [(0, 0), (0, 1), (0, 2)]
    assert torch.equal(results[1].result.confusion.sum(1), results[3].result.confusion.sum(1))


def test_every_fusion_has_a_result_and_fused_key_frames_share_none() -> None:
    methods = {name: with_method(tiny_propagator(), name) for name in ("per_frame", "copy")}
    fused = fusings(["online", "offline"], ["linear"], [False, True])
    options = EvaluationOptions(key_frame_offsets="first")
    results = {one.key: one.result for one in evaluate_methods(methods, FakeClips((9,)), [1, 2], options, fusings=fused)}
    assert list(results) == ["per_frame_k1"] + [
        f"copy_{words}k{k}"
        for words in ("", "linear_fused_keys_", "offline_linear_", "offline_linear_fused_keys_")
        for k in (1, 2)
    ]
    assert results["per_frame_k1"] is results["copy_k1"] is results["copy_offline_linear_k1"]
    kinds = {name: one.frames_by_kind for name, one in results.items()}
    assert kinds["copy_k2"] == {(True, 0, 1): 5, (False, 1, 1): 4}
    assert kinds["copy_linear_fused_keys_k1"] == {(True, 0, 1): 1, (True, 1, 2): 8}
    assert kinds["copy_linear_fused_keys_k2"] == {(True, 0, 1): 1, (False, 1, 1): 1, (True, 1, 2): 4, (False, 1, 2): 3}
    assert kinds["copy_offline_linear_k2"] == {(True, 0, 1): 5, (False, 2, 2): 4}
    assert kinds["copy_offline_linear_fused_keys_k2"] == {(True, 1, 2): 2, (True, 2, 3): 3, (False, 2, 2): 4}


def test_combinations_without_effect_are_left_out() -> None:
    found = fusings(["online", "offline"], ["nearest", "linear"], [False, True])
    assert len(found) == 7 and found[0] == PLAIN and sum(one.mode == "online" for one in found) == 3
    assert found[1].kinds == ((True, 1, 2), (False, 1, 2)) and Fusing("offline", "linear").kinds == ((True, 0, 1), (False, 2, 2))


def test_other_classes_are_refused() -> None:
    check_classes({"classes": list(CLASSES)}, FakeClips())
    check_classes({}, FakeClips())
    with pytest.raises(ValueError, match="class 1 is 'water' in the model and 'road' in the data"):
        check_classes({"classes": ["sky", "water", "tree", "car"]}, FakeClips())
    with pytest.raises(ValueError, match="the model has 2 classes, the data 4"):
        check_classes({"classes": ["sky", "road"]}, FakeClips())
