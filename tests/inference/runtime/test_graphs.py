"""Every runtime reproduces the reference numbers, and labels real frames as eager torch does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RUNTIMES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
pytestmark = pytest.mark.slow


def run(*arguments: object) -> None:
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def skip_without(runtime: str) -> None:
    if missing := [name for name in RUNTIMES[runtime] if find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_goldens_hold(goldens: Path, runtime: str) -> None:
    skip_without(runtime)
    run("tests.inference.runtime.golden_clip", goldens / "pipeline" / "swin_shifted", runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_labels_of_real_frames_equal_those_of_torch(shared_data: Path, runtime: str, tmp_path: Path) -> None:
    skip_without(runtime)
    frames = shared_data / "camvid" / "Seq05VD" / "image"
    run("src.export", "checkpoint=street", f"output={tmp_path / 'model'}", "imgsz=[90,120]", f"input={frames}", "num_frames=3",
        f"format={runtime}")  # fmt: skip
    (note,) = (tmp_path / "model" / "exported").glob(f"{runtime}-90x120-*/runtime.json")
    parity = json.loads(note.read_text())["parity"]
    # The shipped model has no trained flow.
    assert parity["frames"] == 3 and parity["key"]["masks"] < 1e-4
    assert parity["key"]["labels"] == 0 and parity["key"]["different"] < 1e-3
