"""An exported folder is a model folder whose graphs are used, and labels a video in a program without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from src import FixedInterval, StreamingSegmentor, VideoWriter, load_checkpoint, read_video
from src.commands.export import export
from src.commands.runtime_choice import runtimes_of
from src.inference.runtime import openvino
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, frames, tiny_propagator

ROOT = Path(__file__).resolve().parents[2]
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed (requirements-openvino.txt)")
_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it raises
from examples.label_without_torch import main
main(*sys.argv[1:])
"""


def config(*overrides: str) -> Any:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("export", ["imgsz=[40,56]", *overrides])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tiny_propagator("query"), tmp_path / "model", {"classes": list(CLASSES), "stage": "propagation"})


@needs_openvino
@pytest.mark.slow
def test_an_exported_folder_is_used_and_labels_a_video_without_torch(model: Path, tmp_path: Path) -> None:
    folder = export(config(f"checkpoint={model}", f"output={tmp_path / 'exported'}"))
    assert folder == tmp_path / "exported" / "exported" / "openvino-40x56-b1-f32-query"
    note = json.loads((folder / "runtime.json").read_text())
    assert note["classes"] == list(CLASSES) and note["size"] == [40, 56]
    assert note["parity"]["key"]["masks"] < 1e-4 and note["parity"]["nonkey"]["different"] < 1e-3

    with VideoWriter(tmp_path / "drive.mp4", 15) as video:
        for frame in frames(7):
            video.write(frame)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(tmp_path / "drive.mp4"), str(tmp_path / "labels"), str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    labels = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "labels").iterdir())]
    propagator, _ = load_checkpoint(tmp_path / "exported")
    stream = StreamingSegmentor(propagator, FixedInterval(5), runtime=runtimes_of("auto", tmp_path / "exported"))
    maps = list(stream.stream(read_video(tmp_path / "drive.mp4")[0]))
    assert stream.runtime.kind == "openvino" and len(labels) == len(maps) == 7
    # The example sums the masks on their own grid.
    assert np.mean([(found == expected.numpy()).mean() for found, expected in zip(labels, maps, strict=True)]) > 0.95


@pytest.mark.slow
def test_a_program_of_torch_is_written(model: Path) -> None:
    folder = export(config(f"checkpoint={model}", f"output={model}", "format=torch_export", "num_frames=2"))
    assert folder.parent.parent == model
    program = torch.export.load(folder / "key.pt2")
    assert len(program.module()(frames(1)[0][None])) == 4


def test_what_cannot_be_exported_is_refused_before_the_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tiny_propagator("copy"), tmp_path / "other")
    for folder in (tmp_path, tmp_path / "other"):
        with pytest.raises(FileExistsError, match="exists; choose another output"):
            export(config("checkpoint=none", f"output={folder}"))
    monkeypatch.setattr(openvino.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install openvino"):
        export(config("checkpoint=none", f"output={tmp_path / 'new'}"))
    with pytest.raises(ValueError, match="format is onnx and precision bf16; expected precision=f32"):
        export(config("checkpoint=none", f"output={tmp_path / 'new'}", "format=onnx", "precision=bf16"))
    with pytest.raises(ModuleNotFoundError, match="pip install onnx onnxscript onnxruntime"):
        export(config("checkpoint=none", f"output={tmp_path / 'new'}", "format=onnx"))
