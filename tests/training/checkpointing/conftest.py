from pathlib import Path

import pytest

from tests.training.checkpointing.run_folder import write_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path)
