"""Runtimes of a stream: chosen, prepared once a size, compared with eager torch, and given up with one warning."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.inference.runtime import frames as module
from src.inference.runtime import openvino, store
from src.inference.runtime.frames import RuntimeName, Runtimes
from src.inference.runtime.graphs import Graphs
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.models.frame_modules import KeyFrame, NonKeyFrame, flow_tensors
from src.models.propagator import Propagator
from tests.inference.tiny import frames, tiny_propagator

needs_openvino = pytest.mark.skipif(not openvino.is_installed(), reason="OpenVINO is not installed (requirements-openvino.txt)")


class FakeConvert:
    """Conversion to eager modules, whose masks are off by ``error``."""

    def __init__(self, error: float = 0.0, fails: bool = False) -> None:
        self.sizes, self.error, self.fails = list[tuple[int, int]](), error, fails

    @torch.inference_mode()
    def __call__(self, propagator: Propagator, kind: str, image: Tensor, autocast: torch.dtype | None = None) -> Graphs:
        if self.fails:
            raise ValueError("OpenVINO cannot convert KeyFrame (no operator)")
        self.sizes.append((image.shape[-2], image.shape[-1]))
        key, nonkey = KeyFrame(propagator), NonKeyFrame(propagator)
        outputs = key(image)
        names = list(flow_tensors(propagator.flow(image, image, outputs[2])))

        def off(image: Tensor) -> tuple[Tensor, ...]:
            classes, masks, *rest = key(image)
            return (classes, masks * (1 + self.error), *rest)

        return Graphs(off, nonkey, names)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: True)


def use(monkeypatch: pytest.MonkeyPatch, convert: FakeConvert) -> FakeConvert:
    monkeypatch.setattr(module, "convert", convert)
    return convert


def stream(runtime: RuntimeName | Runtimes, propagator: Propagator | None = None) -> StreamingSegmentor:
    return StreamingSegmentor(propagator or tiny_propagator("query"), FixedInterval(2), runtime=runtime)


def labels(segmentor: StreamingSegmentor, size: tuple[int, int] = (40, 56), count: int = 4) -> Tensor:
    return torch.stack(list(segmentor.stream(frames(count, size))))


@pytest.mark.usefixtures("installed")
def test_a_named_runtime_labels_as_eager_and_is_shared_by_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    convert, runtimes, propagator = use(monkeypatch, FakeConvert()), Runtimes("openvino"), tiny_propagator("query")
    expected = labels(stream("eager", propagator))
    for _ in range(2):
        assert torch.equal(labels(stream(runtimes, propagator)), expected)
    assert convert.sizes == [(40, 56)]


@pytest.mark.usefixtures("installed")
def test_a_batch_runs_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeConvert())
    propagator, batches = tiny_propagator("query"), [torch.stack(frames(2, seed=seed)) for seed in (0, 1)]
    maps = []
    for runtime in ("eager", "openvino"):
        segmentor, state = stream(runtime, propagator), None  # type: ignore[arg-type]
        for batch in batches:
            found, state = segmentor.step(batch, state)
        maps.append(found)
    assert torch.equal(*maps)


@pytest.mark.usefixtures("installed")
def test_at_most_four_sizes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    convert, runtimes, propagator = use(monkeypatch, FakeConvert()), Runtimes("openvino"), tiny_propagator("query")
    sizes = [(40, 40 + 8 * number) for number in range(5)]
    for size in (*sizes, sizes[4], sizes[0]):
        labels(stream(runtimes, propagator), size, 1)
    assert convert.sizes == [*sizes, sizes[0]]


@pytest.mark.usefixtures("installed")
def test_masks_that_differ_are_an_error_or_one_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    use(monkeypatch, FakeConvert(error=1e-2))
    propagator = tiny_propagator("query")
    with pytest.raises(ValueError, match=r"first key frame beside eager torch: masks deviate by 1\.0e-02"):
        labels(stream("openvino", propagator))
    monkeypatch.setattr(module.FrameRuntime, "_pays", lambda *_: True)
    expected = labels(stream("eager", propagator))
    with caplog.at_level(logging.WARNING):
        assert torch.equal(labels(stream("auto", propagator)), expected)
    assert len(caplog.records) == 1 and "continuing with runtime=eager" in caplog.text


@pytest.mark.usefixtures("installed")
def test_networks_that_cannot_be_converted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    use(monkeypatch, FakeConvert(fails=True))
    with pytest.raises(ValueError, match="no operator"):
        labels(stream("openvino"))
    monkeypatch.setattr(module.FrameRuntime, "_pays", lambda *_: True)
    labels(stream("auto"))
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


@pytest.mark.usefixtures("installed")
def test_auto_prepares_only_what_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = use(monkeypatch, FakeConvert())
    segmentor = stream("auto")
    labels(segmentor)
    assert not convert.sizes
    # 200 ms a frame: 15 % of 1000 s exceed a minute, those of 100 s do not.
    monkeypatch.setattr(module, "milliseconds", lambda call: (200.0, call()))
    for total, prepared in ((500, 0), (5000, 1)):
        segmentor.runtime.expect(total)
        state = None
        for image in frames(4):
            _, state = segmentor.step(image, state)
        assert len(convert.sizes) == prepared


@pytest.mark.usefixtures("installed")
def test_auto_runs_in_torch_what_was_slower_as_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.FrameRuntime, "_pays", lambda *_: True)
    convert, propagator, calls = FakeConvert(), tiny_propagator("query"), list[str]()

    def timed(*arguments: Any) -> Graphs:
        graphs = convert(*arguments)
        for frame in ("key", "nonkey"):
            call = getattr(graphs, frame)
            setattr(graphs, frame, lambda *tensors, call=call, frame=frame: (calls.append(frame), call(*tensors))[1])
        return replace(graphs, milliseconds={"key": {"eager": 8.0, "graph": 9.0}, "nonkey": {"eager": 2.0, "graph": 1.0}})

    monkeypatch.setattr(module, "convert", timed)
    expected = labels(stream("eager", propagator))
    for name, used in (("auto", {"nonkey"}), ("openvino", {"key", "nonkey"})):
        calls.clear()
        assert torch.equal(labels(stream(name, propagator)), expected)  # type: ignore[arg-type]
        assert set(calls) == used


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "autocast", "message"),
    [
        ("graph", None, "runtime is graph and the device cpu; expected cuda"),
        ("openvino", torch.float16, "expected a CPU and float32 or bfloat16"),
        ("onnx", torch.bfloat16, "runtime is onnx, the device cpu and autocast torch.bfloat16; expected a CPU and float32"),
        ("tensorrt", None, "runtime is 'tensorrt'; expected auto, eager, graph, onnx, openvino"),
    ],
)
def test_a_runtime_that_does_not_fit(name: RuntimeName, autocast: torch.dtype | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingSegmentor(tiny_propagator("copy"), FixedInterval(2), autocast=autocast, runtime=name)


def test_compile_and_a_named_runtime_contradict() -> None:
    with pytest.raises(ValueError, match="compile is True and runtime 'openvino'; expected one of them"):
        StreamingSegmentor(tiny_propagator("copy"), FixedInterval(2), compile=True, runtime="openvino")


def test_without_openvino_auto_is_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino.importlib.util, "find_spec", lambda _: None)
    assert stream("auto").runtime.kind == "eager"
    with pytest.raises(ModuleNotFoundError, match="OpenVINO is not installed; runtime=openvino needs it: pip install openvino"):
        stream("openvino")
    with pytest.raises(ModuleNotFoundError, match="not installed: pip install onnxruntime"):
        stream("onnx")


@needs_openvino
@pytest.mark.slow
def test_openvino_labels_as_eager_and_reads_its_folder_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    propagator = tiny_propagator("query")
    expected = labels(stream("eager", propagator))
    assert torch.equal(labels(stream(Runtimes("openvino", tmp_path), propagator)), expected)
    folder = tmp_path / "openvino-40x56-b1-f32-query"
    assert {path.name for path in folder.glob("[!.]*")} == {"key.xml", "key.bin", "nonkey.xml", "nonkey.bin", "runtime.json"}
    use(monkeypatch, FakeConvert(fails=True))
    assert store.load(folder, propagator, "f32").unchecked == set()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(store.platform, "machine", lambda: "riscv")
        assert store.load(folder, propagator, "f32").unchecked == {"key", "nonkey"}
    for name in ("auto", "openvino"):
        again = stream(Runtimes(name, tmp_path), propagator)  # type: ignore[arg-type]
        assert torch.equal(labels(again), expected) and again.runtime.kind == "openvino"

    with (folder / "key.bin").open("r+b") as file:
        file.write(b"foreign")
    with pytest.raises(ValueError, match=r"key\.bin is missing or differs from its SHA-256.*export again"):
        labels(stream(Runtimes("openvino", tmp_path), propagator))
    (folder / "nonkey.xml").unlink()
    assert torch.equal(labels(stream(Runtimes("auto", tmp_path), propagator)), expected)
    with pytest.raises(ValueError, match="was exported from other weights than the model's; export again"):
        store.load(folder, tiny_propagator("query", seed=6), "f32")
    (folder / "runtime.json").write_text("{}")
    with pytest.raises(ValueError, match=r"runtime\.json is not of this project"):
        store.load(folder, propagator, "f32")
