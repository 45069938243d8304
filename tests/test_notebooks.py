"""Notebooks run on a clean clone, call src and define nothing, and carry no outputs in git."""

import ast
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_calls_src_and_defines_nothing(path: Path) -> None:
    source = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    nodes = list(ast.walk(ast.parse(source)))
    assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef | ast.Lambda)]
    assert any(isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "src" for node in nodes)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_that_was_computed_is_in_git(path: Path) -> None:
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_on_a_clean_clone(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = ("assets", "conf", "docs", "src")
    for name in clone:
        (tmp_path / name).symlink_to(ROOT / name)
    # What the notebook writes lands there, too.
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    notebook = read(path)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    assert {entry.name for entry in tmp_path.iterdir()} == {*clone, "scratch"}


@pytest.mark.slow
def test_comparing_runs_names_those_that_it_leaves_out(tmp_path: Path) -> None:
    for name in ("conf", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("good", "failed", "running"):
        log = tmp_path / "outputs" / name / "flow" / "csv" / "version_0" / "metrics.csv"
        log.parent.mkdir(parents=True)
        log.write_text("" if name == "failed" else "step,train/loss\n1,2.0\n2,1.5\n")
    model = tmp_path / "outputs" / "good" / "flow" / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    row = {
        "method": "dis",
        "key_interval": 5,
        "miou": 0.5,
        "wiou": 0.5,
        "vc8": 0.5,
        "gflops": 1.0,
        "ms_key": 9.0,
        "ms_nonkey": 2.0,
    }
    (tmp_path / "outputs" / "good" / "table.json").write_text(json.dumps([row]))
    (tmp_path / "outputs" / "failed" / "table.partial.json").write_text("{}")
    notebook = read(ROOT / "notebooks" / "comparing_runs.ipynb")
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream" and output["name"] == "stdout")
    assert printed.splitlines() == [
        "left out, failed or not finished: failed/flow, running/flow",
        "left out, evaluation not finished: failed/table.partial.json",
    ]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
