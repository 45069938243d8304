"""Rules of docs/security.md for the source text, beside ruff's in pyproject.toml: no file that is read can run code."""

import ast
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.weights.checkpoints import load_checkpoint
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, frames, tiny_propagator

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for folder in ("src", "scripts", "examples", "notebooks") for path in (ROOT / folder).rglob("*.*"))
SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)}


def program(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join(line for line in "\n".join(cells).splitlines() if not line.lstrip().startswith(("!", "%")))


def unsafe(source: str) -> Iterator[str]:
    """Yield the calls of a program that could run code of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            option, value = SAFE.get(name, ("", None))
            if name in SAFE and given.get(option, "False") != str(value):
                yield f"{name} without {option}={value}"
            if given.get("trust_remote_code", "False") != "False" or given.get("weights_only", "True") == "False":
                yield f"{name} runs code of a file"
            if name in (
                "pickle.load",
                "pickle.loads",
                "joblib.load",
                "dill.load",
                "cloudpickle.load",
                "torch.hub.load",
                "shelve.open",
            ):
                yield name


def test_no_program_runs_code_of_a_file() -> None:
    programs = [path for path in FILES if path.suffix in (".py", ".ipynb")]
    assert len(programs) > 280
    assert not [f"{path.relative_to(ROOT)}: {found}" for path in programs for found in unsafe(program(path))]


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "Model.from_pretrained(name, trust_remote_code=True)",
        "Model.load_from_checkpoint(path, weights_only=False)",
        "pickle.load(file)",
    ],
)
def test_unsafe_calls_are_found(line: str) -> None:
    assert list(unsafe(line))
    assert not list(
        unsafe("torch.load(path, weights_only=True); np.load(path); Model.from_pretrained(name, trust_remote_code=False)")
    )


def test_a_local_model_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*asked: object) -> None:
        raise AssertionError(f"a connection is opened: {asked}")

    folder = save_model(tiny_propagator("query"), tmp_path / "model", {"classes": CLASSES})
    for target in ("socket.socket.connect", "socket.socket.connect_ex", "socket.getaddrinfo", "socket.create_connection"):
        monkeypatch.setattr(target, refuse)
    with pytest.raises(AssertionError, match="a connection is opened"):
        socket.create_connection(("192.0.2.1", 80))
    propagator, metadata = load_checkpoint(folder, torch.device("cpu"))
    assert metadata["classes"] == list(CLASSES)
    assert len(list(StreamingSegmentor(propagator, FixedInterval(2), short_side=32).stream(frames(3, (48, 64))))) == 3
