"""The code keeps its layers, and every import contract can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [sys.executable, str(script), "--no-logo", "--no-cache"], cwd=root, capture_output=True, text=True, timeout=120
    )


def test_the_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("edits", "contract"),
    [
        ({"ops/warp.py": "import src.models"}, "Layers:"),
        ({"losses/__init__.py": "import src.metrics"}, "Layers:"),
        ({"utils/__init__.py": ""}, "Layers:"),
        ({"models/__init__.py": "import hydra"}, "The method imports no trainer"),
        ({"data/__init__.py": "from lightning import LightningDataModule"}, "In data, only the datamodule"),
        ({"data/datasets/base.py": "import src.data.pairs.sampling"}, "Layers of data"),
        ({"data/integrity/issues.py": "import src.data.datasets.folder"}, "Layers of data"),
        ({"training/__init__.py": "import hydra"}, "Training and web do not import Hydra"),
        ({"web/__init__.py": "import omegaconf"}, "Training and web do not import Hydra"),
        ({"training/module.py": "import src.training.wiring"}, "Layers of training"),
        ({"weights/renaming.py": "import src.weights.official"}, "Layers of weights"),
        ({"inference/__init__.py": "import gradio"}, "Only the page and its server import Gradio"),
        ({"inference/scheduling/__init__.py": "import src.inference.streaming"}, "Layers of inference"),
        ({"models/flow/__init__.py": "import src.models.segmentors.eomt"}, "Layers of models"),
        ({"models/segmentors/eomt.py": "import src.models.segmentors.maskformer"}, "Layers of segmentors"),
        ({"ops/warp.py": "import src.ops.masks", "ops/masks.py": "import src.ops.warp"}, "No import circles"),
    ],
)
def test_a_broken_rule_is_refused_by_its_contract(tmp_path: Path, edits: dict[str, str], contract: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in edits.items():
        file = tmp_path / "src" / name
        file.parent.mkdir(exist_ok=True)
        before = file.read_text() if file.exists() else ""
        file.write_text(f"{before}\n{line}\n")

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stdout + result.stderr
    broken = [row for row in result.stdout.splitlines() if row.startswith(contract) and " BROKEN" in row]
    assert broken, result.stdout
