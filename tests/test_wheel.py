"""The package that ``pip install .`` installs: built, unpacked, and run from another folder."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import hatch_build
from hatch_build import renamed_python, renamed_text
from src.__main__ import COMMANDS, SCRIPTS
from src.weights.checkpoints import load_checkpoint
from tests.inference.tiny import frames
from tests.inference.videos import make_video
from tests.launching import ENVIRONMENT
from tests.tiny_run import NETWORKS, SCENES, STEPS

ROOT = Path(__file__).resolve().parents[1]
# What the console script of the wheel does.
COMMAND = "from mpvss.__main__ import main; main()"

EXPERIMENT = """\
# @package _global_
name: mine
stage:
  optim:
    _target_: src.training.optim.AdamWPoly # as in a configuration that a checkout saved
    lr: 3e-4
"""


def test_names_of_modules_and_commands_are_renamed() -> None:
    source = '"""Run `python -m src.train`, `torchrun -m src.eval`; src.demo. See src/a/b.py."""\nfrom src.a import src\n'
    renamed = '"""Run `mpvss train`, `torchrun -m mpvss.eval`; mpvss demo. See mpvss/a/b.py."""\nfrom mpvss.a import src\n'
    assert renamed_python(source) == renamed
    unchanged = 'src.x = rotate(src)  # <img src="a.png">, element.src.x, other/src/x, src_x\n'
    assert renamed_python(unchanged) == unchanged
    text = (
        "_target_: src.eval_flows.X # scripts/check_data.py, python scripts/make_shards.py a, scripts/quickstart.sh, src.evaluate"
    )
    expected = "_target_: mpvss.eval_flows.X # mpvss check_data, mpvss make_shards a, scripts/quickstart.sh, mpvss.evaluate"
    assert renamed_text(text) == expected


def test_scripts_lose_the_path_of_the_checkout() -> None:
    for name in hatch_build.SCRIPTS:
        source = (ROOT / "scripts" / f"{name}.py").read_text()
        assert ("sys.path" in source or name == "sweep_runs") and "sys.path" not in renamed_python(source)
    assert SCRIPTS.keys() <= set(hatch_build.SCRIPTS)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = ["-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q"]
    subprocess.run([sys.executable, *pip, "-w", str(folder)], cwd=ROOT, check=True, timeout=600)
    return next(folder.glob("mpvss-*-py3-none-any.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The folder that stands for site-packages."""
    folder = wheel.parent / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, folder: Path, code: str, *arguments: str) -> tuple[int, str]:
    """Exit code and printed text of a program that has the installed package and not the checkout."""
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_checkout(wheel: Path) -> None:
    files = [path for name in ("src", "conf", "assets") for path in (ROOT / name).rglob("*") if path.is_file()]
    names = [path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts]
    expected = {f"mpvss/{name.removeprefix('src/')}" for name in names}
    expected |= {f"mpvss/scripts/{name}.py" for name in hatch_build.SCRIPTS} | {"mpvss/requirements-demo.txt"}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.startswith("mpvss-")}
        metadata = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}
    assert found == expected and len(found) > 400
    assert "mpvss = mpvss.__main__:main" in metadata["entry_points.txt"]
    required = re.findall(r"^Requires-Dist: ([\w.-]+)==", metadata["METADATA"], re.MULTILINE)
    assert {"torch", "lightning", "hydra-core", "optuna"} <= set(required) and "gradio" not in required


@pytest.mark.slow
def test_no_name_of_the_checkout_is_left(installed: Path, tmp_path: Path) -> None:
    modules, imports = set[str](), set[str]()
    texts = [path for path in installed.glob("mpvss/**/*.*") if path.suffix in (".py", ".yaml", ".txt", ".json")]
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?<![\w./-])src[./]\w|\b(?:from|import) src\b|-m src\b", text), path
        if path.suffix == ".py":
            modules.add(".".join(path.relative_to(installed).with_suffix("").parts).removesuffix(".__init__"))
            imports |= {name for node in ast.walk(ast.parse(text)) for name in imported(node)}
    own = {name for name in imports if name.startswith(("mpvss", "src", "scripts"))}
    assert len(own) > 200 and own <= modules

    targets = {
        target
        for path in texts
        if path.suffix == ".yaml"
        for target in re.findall(r"_target_: (mpvss\.[\w.]+)", path.read_text())
    }
    check = "import sys; from mpvss.options.signatures import is_callable_name as f; print([x for x in sys.argv[1:] if not f(x)])"
    assert len(targets) > 40 and run(installed, tmp_path, check, *targets) == (0, "[]\n")


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module


@pytest.mark.slow
def test_the_wheel_of_the_source_archive_is_the_wheel_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True, timeout=600)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = next(path for path in tmp_path.glob("mpvss-*") if path.is_dir())
    subprocess.run([*build, "-t", "wheel"], cwd=unpacked, check=True, capture_output=True, timeout=600)
    assert next(tmp_path.glob("*.whl")).read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_commands_print_their_installed_names_and_exit_with_their_codes(installed: Path, tmp_path: Path) -> None:
    code, printed = run(installed, tmp_path, COMMAND, "--help")
    assert code == 0 and all(re.search(rf"^  {name} ", printed, re.MULTILINE) for name in COMMANDS | SCRIPTS)
    code, printed = run(installed, tmp_path, COMMAND, "predict", "--help")
    assert code == 0 and "mpvss predict input=drive.mp4" in printed and "src." not in printed and "\npaths.runs " in printed
    code, printed = run(installed, tmp_path, COMMAND, "predict", "input=a.mp4")
    assert (code, printed.count("\n")) == (1, 1) and "checkpoint: not given" in printed
    code, printed = run(installed, tmp_path, COMMAND, "check_data", "workers=0")
    assert (code, printed) == (2, "data: not given; expected data=<value>\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_own_experiment_trains_and_predicts(installed: Path, tmp_path: Path) -> None:
    before = {path for path in installed.rglob("*")}
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    make_video(tmp_path / "drive.mp4", frames(4, (48, 64)))
    options = [*SCENES, *NETWORKS, *STEPS, "stage=segmentor", "trainer.max_steps=2", "trainer.val_check_interval=2"]
    code, printed = run(installed, tmp_path, COMMAND, "train", "--config-dir", "conf", *options, "experiment=mine")
    model = tmp_path / "outputs" / "mine" / "segmentor" / "model"
    assert code == 0 and model.is_dir(), printed

    api = "from mpvss import StreamingSegmentor, load_checkpoint; load_checkpoint('outputs/mine/segmentor/model'); "
    where = f"checkpoint={model.relative_to(tmp_path)}"
    code, printed = run(installed, tmp_path, api + COMMAND, "predict", "input=drive.mp4", where, "output=drive", "device=cpu")
    assert code == 0 and (tmp_path / "drive" / "overlay.mp4").is_file(), printed
    assert {path.name for path in tmp_path.iterdir()} == {"conf", "data", "drive", "drive.mp4", "outputs"}
    assert {path for path in installed.rglob("*")} == before

    propagator, metadata = load_checkpoint(model, "cpu")
    assert len(metadata["classes"]) == propagator.segmentor.num_classes
