"""Build of the package ``mpvss``: ``src`` with its configurations, under a name that collides with no other project's.

``pip install .`` runs it. In a checkout the package is ``src``, and ``python -m src.train`` needs no build. The wheel contains

mpvss/            the modules of ``src``, renamed in imports, dotted names and texts
mpvss/conf/       the configurations, their ``_target_`` names renamed
mpvss/assets/     as in the checkout
mpvss/scripts/    the scripts that ``src/__main__.py`` lists
"""

import ast
import re
import shutil
import tempfile
import tokenize
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

SCRIPTS = ("check_data", "extract_cityscapes", "make_shards", "prepare_vspw", "sweep_runs", "sweep_table")
PACKAGES = {"src": "mpvss", "scripts": "mpvss.scripts"}
# In comments, strings and YAML, in this order.
TEXT_RULES = (
    (r"python -m src\.", "mpvss "),
    (r"python -m src\b", "mpvss"),
    (rf"(?:python )?\bscripts/({'|'.join(SCRIPTS)})\.py\b", r"mpvss \1"),
    (r"(?<!-m )(?<![\w./-])src\.(train|eval|predict|demo|benchmark|convert|export|push)\b(?!\.?\w)", r"mpvss \1"),
    (r"(?<![\w./-])src(?=[./]\w)", "mpvss"),
    (r"\b(from|import) src\b", r"\1 mpvss"),
)
# Scripts of a checkout are started as files beside the package.
PATH_LINE = re.compile(r"# The package is not installed.*\nsys\.path\.insert\(0, str\(Path\(__file__\).*\n\n")


def renamed_text(text: str) -> str:
    """Return a text, or a YAML file, with the installed names of modules and commands."""
    for pattern, replacement in TEXT_RULES:
        text = re.sub(pattern, replacement, text)
    return text


def renamed_python(source: str) -> str:
    """Return a module with the installed names: of packages after ``from``, and those of :func:`renamed_text` in texts."""
    lines = PATH_LINE.sub("", source).splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(iter([*lines, ""]).__next__))
    words = ["", *(token.string for token in tokens)]
    # From the end, so that the positions of the tokens before stay valid.
    for before, token in reversed(list(zip(words, tokens, strict=False))):
        new = token.string
        if token.type != tokenize.NAME:
            new = renamed_text(new)
        elif before == "from":
            new = PACKAGES.get(new, new)
        if new != token.string:
            (first, start), (last, end) = token.start, token.end
            lines[first - 1 : last] = [lines[first - 1][:start] + new + lines[last - 1][end:]]
    renamed = "".join(lines)
    ast.parse(renamed)
    return renamed


def build_package(root: Path, package: Path) -> None:
    """Write the package of the checkout at ``root`` to the new folder ``package``."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(root / "src", package, ignore=ignore)
    for folder in (root / "conf", root / "assets"):
        if folder.is_dir():
            shutil.copytree(folder, package / folder.name, ignore=ignore)
    (package / "scripts").mkdir()
    for name in SCRIPTS:
        shutil.copy(root / "scripts" / f"{name}.py", package / "scripts")
    shutil.copy(root / "requirements-demo.txt", package)
    renames = {".py": renamed_python, ".yaml": renamed_text, ".txt": renamed_text}
    for path in package.rglob("*.*"):
        if path.suffix in renames:
            path.write_text(renames[path.suffix](path.read_text(encoding="utf-8")), encoding="utf-8")


class PackageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Build hook of the wheel; ``pyproject.toml`` names this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the package in a temporary folder and put it into the wheel.

        Raises:
            RuntimeError: for an editable installation.
        """
        if version == "editable":
            raise RuntimeError(
                "an editable installation is not possible, as the package has another name in the checkout; expected "
                "`pip install .`, or a checkout without installation, which runs as `python -m src.train`"
            )
        self.folder = tempfile.mkdtemp()
        build_package(Path(self.root), Path(self.folder) / "mpvss")
        build_data["force_include"][str(Path(self.folder) / "mpvss")] = "mpvss"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the temporary folder."""
        shutil.rmtree(self.folder)


class RequirementsHook(MetadataHookInterface):
    """Dependencies of the package, from ``requirements.txt``.

    ``mpvss[cluster]`` adds those of sweeps, ``mpvss[openvino]`` and ``mpvss[onnx]`` those of a runtime,
    ``mpvss[exports]`` those of exports.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the dependencies to the metadata."""
        metadata["dependencies"] = self._listed("requirements.txt")
        extras = ("cluster", "openvino", "onnx", "exports")
        metadata["optional-dependencies"] = {name: self._listed(f"requirements-{name}.txt") for name in extras}

    def _listed(self, name: str) -> list[str]:
        lines = (Path(self.root) / name).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith("#")]
