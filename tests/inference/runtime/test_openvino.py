"""OpenVINO sends nothing, and a process that used it still handles signals."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

_CONVERT = """
import torch
from src.inference.runtime.openvino import prepare
graph = prepare(torch.nn.Conv2d(3, 4, 3).eval(), [torch.zeros(1, 3, 8, 8)], "f32", ["image"], ["result"])
assert graph(torch.zeros(1, 3, 8, 8))[0].shape == (1, 4, 6, 6)
from openvino.tools.ovc import telemetry_utils
print(telemetry_utils.tm.__name__)
"""

_SIGNAL = """
import gc, os, signal, threading, torch
from src.inference.runtime.openvino import prepare
graphs = [prepare(torch.nn.ReLU(), [torch.zeros(1, 3)], "f32", ["image"], ["result"])]
thread = threading.Thread(target=lambda: (graphs.clear(), gc.collect()))
thread.start()
thread.join()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed (requirements-openvino.txt)")


def run(code: str) -> str:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_openvino
def test_a_signal_after_a_graph_is_dropped_by_another_thread_is_handled() -> None:
    assert run(_SIGNAL) == "handled"


@needs_openvino
def test_a_conversion_sends_nothing_and_leaves_the_home_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(_CONVERT) == "openvino.tools.ovc.telemetry_stub"
    assert not (tmp_path / "intel").exists()
