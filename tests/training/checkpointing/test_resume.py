from pathlib import Path

import pytest
import torch

from src.training.checkpointing.checkpoint_files import checkpoints_by_age
from src.training.checkpointing.resume import discard_checkpoints, find_checkpoint
from tests.training.checkpointing.run_folder import cut_short, newest


def test_resuming_takes_the_newest_checkpoint(run_dir: Path) -> None:
    torch.save({"state_dict": {}}, run_dir / "checkpoints" / "best.ckpt")
    assert find_checkpoint(run_dir, resume=True, overwrite=False) == newest(run_dir)
    assert torch.load(newest(run_dir), weights_only=True)["step"] == 250


def test_run_without_intact_checkpoint_does_not_restart(run_dir: Path) -> None:
    for path in checkpoints_by_age(run_dir / "checkpoints"):
        cut_short(path)
    with pytest.raises(
        ValueError, match=r"every checkpoint in .*checkpoints is damaged; overwrite=true starts the run at step 0"
    ):
        find_checkpoint(run_dir, resume=True, overwrite=False)


def test_earlier_run_is_not_replaced_without_overwrite(run_dir: Path) -> None:
    with pytest.raises(FileExistsError, match=r"already contains a run \(step_0000250.ckpt\): add resume=true"):
        find_checkpoint(run_dir, resume=False, overwrite=False)
    assert find_checkpoint(run_dir, resume=False, overwrite=True) is None
    # Asking is not deleting: the new run may yet fail to start.
    assert len(list((run_dir / "checkpoints").iterdir())) == 2
    discard_checkpoints(run_dir)
    assert not list((run_dir / "checkpoints").iterdir())
    assert find_checkpoint(run_dir, resume=False, overwrite=False) is None
    with pytest.raises(ValueError, match="expected at most one: resume=true continues"):
        find_checkpoint(run_dir, resume=True, overwrite=True)


def test_model_without_checkpoints_counts_as_a_run(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, resume=True, overwrite=False) is None
    (tmp_path / "model").mkdir()
    with pytest.raises(FileExistsError, match=r"already contains a run \(model\)"):
        find_checkpoint(tmp_path, resume=False, overwrite=False)
    with pytest.raises(FileExistsError, match="exists without a checkpoint to resume from; overwrite=true trains"):
        find_checkpoint(tmp_path, resume=True, overwrite=False)
