"""What every test shares: an offline environment, one seed, and the folders of real data and reference numbers."""

import os

# Before anything imports them: both libraries read their environment once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("WANDB_SILENT", "true")

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

# Check the shape annotations of these packages in every test. The hook must exist before they are imported.
jaxtyping.install_import_hook(
    ["src.losses", "src.metrics", "src.models", "src.ops", "src.structures"],
    "importlib.import_module('tests.shape_checks').checked",
)

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Give torch the threads that the run was given, in every worker process."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Let wrong shapes reach a function, to test its own error."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings (camvid, kitti_step, middlebury); the test is skipped where it is absent."""
    return _folder_or_skip("MPVSS_SHARED_DATA", ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of reference numbers (flow, metrics, pipeline); the test is skipped where it is absent."""
    return _folder_or_skip("MPVSS_GOLDENS", ROOT.parent / "shared" / "goldens")


def _folder_or_skip(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set {variable} to the one that has it")
    return folder
