"""Help and argument errors come before the imports that take seconds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "src.train", "src.eval", "src.predict", "src.demo", "src.benchmark", "src.convert", "src.export", "src.push",
    "scripts/check_data.py",
]  # fmt: skip
HEAVY = {
    "torch",
    "lightning",
    "torchvision",
    "timm",
    "transformers",
    "kornia",
    "wandb",
    "cv2",
    "av",
    "pandas",
    "scipy",
    "matplotlib",
}
# Hydra and rich take about 400; torch adds more than a thousand.
MOST_MODULES = 600

ERRORS = [
    ("src.train", "experiment=no_such", "no_such"),
    ("src.train", "model/flow=pretrained", "model.flow.path: not given"),
    ("src.train", "hparams_search=optuna", "hparams_search=optuna has no effect on a single run"),
    ("src.benchmark", "model/flow=pretrained", "model.flow.path: not given"),
    ("src.eval", "output=a.json", "checkpoint: not given"),
    ("src.predict", "input=a.mp4", "checkpoint: not given; expected checkpoint=<value>"),
    ("src.predict", "scheduler.head_start=2", "expected scheduler.interval_shift"),
    ("src.demo", "port=1", "checkpoint: not given"),
    ("src.convert", "output=a", "input: not given"),
    ("src.export", "checkpoint=a", "imgsz, output: not given"),
    ("src.push", "private=maybe", "input, repo_id: not given"),
    ("scripts/check_data.py", "workers=0", "data: not given; expected data=<value>"),
]


def run(command: str, *arguments: str) -> tuple[int, str, set[str]]:
    """Exit code, printed text and imported modules of a command in a process of its own."""
    program = [str(ROOT / command)] if command.endswith(".py") else ["-m", command]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *program, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    row = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
    return done.returncode, done.stdout + row.sub("", done.stderr), set(row.findall(done.stderr))


def check_imports(modules: set[str]) -> None:
    assert "hydra" in modules or "src.command_line" in modules
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    assert len(modules) < MOST_MODULES


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_a_misspelt_key_import_nothing_heavy(command: str) -> None:
    code, printed, modules = run(command, "--help")
    assert code == 0 and "\npaths.runs " in printed
    check_imports(modules)

    code, printed, modules = run(command, "no_such_key=1")
    assert code == (2 if command.startswith("scripts") else 1) and "no_such_key" in printed
    check_imports(modules)


@pytest.mark.parametrize("command, argument, message", ERRORS)
def test_an_argument_error_is_reported_before_heavy_imports(command: str, argument: str, message: str, tmp_path: Path) -> None:
    code, printed, modules = run(command, argument, *([f"run_dir={tmp_path}"] if command == "src.train" else []))
    assert code == (2 if command.startswith("scripts") else 1) and message in printed
    check_imports(modules)
