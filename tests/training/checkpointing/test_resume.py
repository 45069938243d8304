import os
from pathlib import Path

import pytest
import torch

from src.training.checkpointing.checkpoint_files import checkpoints_by_step
from src.training.checkpointing.resume import find_checkpoint
from tests.training.checkpointing.run_folder import cut_short, newest, write_checkpoint


@pytest.mark.parametrize("resume", [True, "force"])
def test_resuming_takes_the_checkpoint_of_the_last_step(run_dir: Path, resume: bool | str) -> None:
    torch.save({"state_dict": {}}, run_dir / "checkpoints" / "best.ckpt")
    os.utime(run_dir / "checkpoints" / "step_0000250.ckpt", (4e9, 4e9))
    assert find_checkpoint(run_dir, resume, overwrite=False) == newest(run_dir)
    assert torch.load(newest(run_dir), weights_only=True)["global_step"] == 900


def test_file_of_a_stranger_and_dangling_link_are_not_resumed_from(run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = run_dir / "checkpoints"
    (folder / "step_x.ckpt").write_text("mine")
    (folder / "step_9999999.ckpt").write_text("mine")
    (folder / "step_0001000.ckpt").symlink_to(folder / "gone")
    write_checkpoint(folder, 250, "step_0000950.ckpt")
    assert find_checkpoint(run_dir, resume=True, overwrite=False) == newest(run_dir)
    for reason in ("link to a file that does not exist", "its name says step 950 and its content step 250"):
        assert reason in caplog.text


def test_run_without_intact_checkpoint_does_not_restart(run_dir: Path) -> None:
    for path in checkpoints_by_step(run_dir / "checkpoints"):
        cut_short(path)
    with pytest.raises(ValueError, match=r"checkpoints: every checkpoint is damaged; overwrite=true starts the run at step 0"):
        find_checkpoint(run_dir, resume=True, overwrite=False)


def test_earlier_run_is_not_replaced_without_overwrite(run_dir: Path) -> None:
    with pytest.raises(FileExistsError, match=r"already contains a run \(step_0000900.ckpt\): add resume=true"):
        find_checkpoint(run_dir, resume=False, overwrite=False)
    assert find_checkpoint(run_dir, resume=False, overwrite=True) is None
    # Asking is not deleting: the new run may yet fail to start.
    assert len(list((run_dir / "checkpoints").iterdir())) == 2
    for resume in (True, "force"):
        with pytest.raises(ValueError, match=f"resume={resume} and overwrite=true; expected at most one"):
            find_checkpoint(run_dir, resume, overwrite=True)


@pytest.mark.parametrize(
    "resume, overwrite", [("no", False), ("yes", False), ("true", False), (1, False), (None, False), (False, "no"), (False, 1)]
)
def test_values_of_other_types_are_refused(run_dir: Path, resume: object, overwrite: object) -> None:
    with pytest.raises(ValueError, match=f"resume={resume}, overwrite={overwrite}; expected true, false or force"):
        find_checkpoint(run_dir, resume, overwrite)  # type: ignore[arg-type]
    assert len(list((run_dir / "checkpoints").iterdir())) == 2


def test_model_without_checkpoints_counts_as_a_run(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, resume=True, overwrite=False) is None
    (tmp_path / "model").mkdir()
    with pytest.raises(FileExistsError, match=r"already contains a run \(model\)"):
        find_checkpoint(tmp_path, resume=False, overwrite=False)
    with pytest.raises(FileExistsError, match="exists without a checkpoint to resume from; overwrite=true trains"):
        find_checkpoint(tmp_path, resume=True, overwrite=False)


@pytest.mark.parametrize("name", ["checkpoints", "model"])
def test_file_or_dangling_link_in_place_of_a_folder_is_an_error_before_training(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(NotADirectoryError, match=f"{name} is a file, or a link to nothing; expected a folder"):
        find_checkpoint(tmp_path, resume=False, overwrite=False)
    (tmp_path / name).unlink()
    (tmp_path / name).touch()
    with pytest.raises(NotADirectoryError):
        find_checkpoint(tmp_path, resume=False, overwrite=True)
