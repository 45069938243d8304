"""Shape annotations are checked in tests, compile as before, and cost nothing elsewhere."""

import subprocess
import sys

import pytest
import torch
from jaxtyping import TypeCheckError

from src.ops.correlation import local_correlation
from src.ops.masks import semantic_map
from src.ops.padding import pad_to
from src.ops.warp import warp
from src.structures import MaskPrediction


@pytest.mark.parametrize(
    ("source", "flow"),
    [
        (torch.zeros(1, 3, 4, 5), torch.zeros(1, 2, 4, 6)),
        (torch.zeros(2, 3, 4, 5), torch.zeros(1, 2, 4, 5)),
        (torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 5)),
        (torch.zeros(1, 3, 4, 5, dtype=torch.uint8), torch.zeros(1, 2, 4, 5)),
    ],
    ids=["width", "batch", "channels", "dtype"],
)
def test_arguments_that_contradict_their_annotations_are_refused(source: torch.Tensor, flow: torch.Tensor) -> None:
    with pytest.raises(TypeCheckError, match="typechecking parameter"):
        warp(source, flow)


def test_results_that_contradict_their_annotations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = MaskPrediction(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 3, 3), torch.zeros(1, 2, 8), (12, 12), (12, 12))
    semantic_map(one)
    monkeypatch.setattr("src.ops.masks.label_map", lambda *_: torch.zeros(12, 12))
    with pytest.raises(TypeCheckError, match="checking the return value"):
        semantic_map(one)


def test_sizes_given_as_arguments_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.functional.pad", lambda x, *_, **__: x)
    with pytest.raises(TypeCheckError, match="checking the return value"):
        pad_to(torch.zeros(1, 3, 3), (4, 4))


def test_a_compiled_graph_holds_no_check() -> None:
    compiled = torch.compile(local_correlation, backend="eager", fullgraph=True)
    first, second = torch.randn(1, 3, 6, 8), torch.randn(1, 3, 6, 8)
    assert torch.equal(compiled(first, second, 1), local_correlation(first, second, 1))


def test_no_check_exists_outside_of_tests() -> None:
    script = "import sys, src.ops.warp as m; sys.exit(hasattr(m.warp, '__wrapped__') or 'beartype' in sys.modules)"
    assert hasattr(warp, "__wrapped__")
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == 0
