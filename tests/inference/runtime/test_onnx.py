"""ONNX Runtime labels as eager torch, and its folder is read again without the packages of the export."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from src.inference.runtime import onnx, store
from src.inference.runtime.frames import Runtimes
from tests.inference.runtime.test_frames import FakeConvert, labels, stream, use
from tests.inference.tiny import tiny_propagator

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in onnx.EXPORT_NEEDS), reason="onnx, onnxscript or onnxruntime is not installed"
)


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None if name.startswith("onnxs") else name)
    onnx.check_installed()
    with pytest.raises(ModuleNotFoundError, match=r"not installed: pip install onnxscript$"):
        onnx.check_installed(onnx.EXPORT_NEEDS)


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("flow", ["query", "correlation"])
def test_onnx_labels_as_eager_and_reads_its_folder_again(flow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    propagator = tiny_propagator(flow)
    expected = labels(stream("eager", propagator))
    assert torch.equal(labels(stream(Runtimes("onnx", tmp_path), propagator)), expected)
    folder = tmp_path / f"onnx-40x56-b1-f32-{flow}"
    assert {path.name for path in folder.glob("[!.]*")} == {"key.onnx", "nonkey.onnx", "runtime.json"}
    use(monkeypatch, FakeConvert(fails=True))
    again = stream(Runtimes("onnx", tmp_path), propagator)
    assert torch.equal(labels(again), expected) and again.runtime.kind == "onnx"

    (folder / "key.onnx").write_bytes(b"foreign")
    with pytest.raises(ValueError, match=r"key\.onnx is missing or differs from its SHA-256.*export again"):
        store.load(folder, propagator, "f32")
    with pytest.raises(ValueError, match=r"key\.onnx cannot be read by ONNX Runtime"):
        onnx.OnnxGraph.load(folder / "key.onnx")
