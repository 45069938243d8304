"""A replaced run is never lost: it is restored, or removed once the new run has a checkpoint; files of the user stay."""

import errno
import json
import logging
import os
import threading
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from src.training.checkpointing import earlier_run
from src.training.checkpointing.earlier_run import EarlierRun
from src.training.checkpointing.run_files import is_run, read_run_file, write_run_file
from tests.training.checkpointing.run_folder import write_checkpoint

CONFIG = json.dumps({"format": "mpvss-model"})
OWN = {
    "model/config.json": CONFIG, "model/model.safetensors": "w", "csv/version_0/metrics.csv": "step\n",
    "csv/version_0/hparams.yaml": "", "wandb/offline-run-20240101_000000-abc/files/media/x.png": "", "skipped_samples.csv": "",
    "pictures/step_0000004/00.png": "", "overlays/step_0000004.mp4": "", "broken/step_0000002_rank_0/batch.json": "",
    "broken/step_0000002_rank_0/model/config.json": CONFIG, "tensorboard/version_0/events.out.tfevents.1.host.2": "",
    "train.log": "old line\n", ".hydra/overrides.yaml": "- seed=0\n",
}  # fmt: skip
OF_THE_USER = {
    "holiday.jpg": "a", "notes.txt": "b", "checkpoints/notes.txt": "c", "checkpoints/step_x.ckpt": "d", "model/readme.md": "e",
    "pictures/holiday.png": "f", "pictures/step_4/00.png": "g", "csv/data.csv": "h", "csv/version_0/mine.csv": "i",
}  # fmt: skip


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with files of the user in its folders."""
    folder = tmp_path / "run"
    write(folder, OWN | OF_THE_USER)
    write_run_file(folder, "a")
    write_checkpoint(folder / "checkpoints", 4)
    write_checkpoint(folder / "checkpoints", 4, "best.ckpt")
    (folder / "wandb" / "latest-run").symlink_to("offline-run-20240101_000000-abc")
    return folder


def start(folder: Path, run: str = "b") -> None:
    """What a new run writes before its first checkpoint."""
    write_run_file(folder, run)
    write(folder, {"csv/version_0/metrics.csv": "step\n1\n", "train.log": "new line\n", ".hydra/overrides.yaml": "- seed=1\n"})
    write(folder, {"broken/step_0000003_rank_0/batch.json": "new", "wandb/offline-run-20250101_000000-abc/x": ""})
    if not (folder / "wandb" / "latest-run").is_symlink():
        (folder / "wandb" / "latest-run").symlink_to("offline-run-20250101_000000-abc")


def test_run_is_aside_until_it_is_removed_and_files_of_the_user_never_move(run_dir: Path) -> None:
    before = tree(run_dir)
    earlier = EarlierRun(run_dir)
    with earlier.replaced_by("b"):
        left = {name for name in tree(run_dir) if not name.startswith("earlier_run/")}
        assert left == set(OF_THE_USER)
        aside = tree(run_dir / "earlier_run")
        assert aside.keys() - {"state.json"} == before.keys() - set(OF_THE_USER)
        start(run_dir)
        write_checkpoint(run_dir / "checkpoints", 2, run="b")
        earlier.remove()
        assert not (run_dir / "earlier_run").exists()
    assert {name: tree(run_dir)[name] for name in OF_THE_USER} == {name: text.encode() for name, text in OF_THE_USER.items()}
    assert read_run_file(run_dir) == "b" and "train.log" in tree(run_dir) and not (run_dir / "skipped_samples.csv").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_run_is_restored_after_an_end_before_the_first_checkpoint(
    run_dir: Path, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    before = tree(run_dir)
    with pytest.raises(error), EarlierRun(run_dir).replaced_by("b"):
        start(run_dir)
        raise error
    after = tree(run_dir)
    assert {name: after[name] for name in before if name != "train.log"} == {n: x for n, x in before.items() if n != "train.log"}
    assert after["train.log"] == b"old line\nnew line\n"
    # The messages of the failed run name this folder.
    assert after["broken/step_0000003_rank_0/batch.json"] == b"new"
    assert after["stopped_run_1/csv/version_0/metrics.csv"] == b"step\n1\n" and not (run_dir / "earlier_run").exists()
    assert f"{run_dir} is restored; what the new one wrote is in {run_dir / 'stopped_run_1'}" in caplog.text
    assert os.readlink(run_dir / "wandb" / "latest-run") == "offline-run-20240101_000000-abc"


def test_disk_that_refuses_the_removal_does_not_end_the_new_run(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    with EarlierRun(run_dir).replaced_by("b"):
        write_checkpoint(run_dir / "checkpoints", 2, run="b")
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", refuse)
            EarlierRun(run_dir).remove()
        assert "the replaced run, cannot be removed (" in caplog.text
    assert not (run_dir / "earlier_run").exists()


def test_killed_process_is_settled_by_the_next_one(run_dir: Path) -> None:
    """At every rename: the earlier run is whole again, or the new one has a checkpoint."""
    before = tree(run_dir)
    rename, moves = os.rename, [0]

    class Killed(BaseException):
        pass

    def kill_at(number: int) -> None:
        def dying(source: Path, target: Path) -> None:
            moves[0] += 1
            if moves[0] == number:
                raise Killed
            rename(source, target)

        moves[0] = 0
        earlier_run.os.rename = dying

    try:
        for number in range(1, 60):
            kill_at(number)
            try:
                EarlierRun(run_dir)._move_aside("b")
                start(run_dir)
                EarlierRun(run_dir).restore()
                assert number > 20
                break
            except Killed:
                pass
            earlier_run.os.rename = rename
            EarlierRun(run_dir).settle(wait=True)
            after = tree(run_dir)
            assert {name: after[name] for name in before if name != "train.log"}.items() <= before.items(), number
            assert after["train.log"].startswith(b"old line\n") and not (run_dir / "earlier_run").exists()
        else:
            raise AssertionError("never finished")
    finally:
        earlier_run.os.rename = rename


def test_killed_process_after_its_first_checkpoint_keeps_the_new_run(run_dir: Path) -> None:
    EarlierRun(run_dir)._move_aside("b")
    start(run_dir)
    write_checkpoint(run_dir / "checkpoints", 2, run="b")
    EarlierRun(run_dir).settle(wait=True)
    assert not (run_dir / "earlier_run").exists() and read_run_file(run_dir) == "b"
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {"step_0000002.ckpt", "notes.txt", "step_x.ckpt"}


def test_checkpoint_of_another_run_does_not_count_as_the_first(run_dir: Path) -> None:
    EarlierRun(run_dir)._move_aside("b")
    write_checkpoint(run_dir / "checkpoints", 9, run="c")
    EarlierRun(run_dir).settle(wait=True)
    assert read_run_file(run_dir) == "a" and (run_dir / "checkpoints" / "step_0000004.ckpt").is_file()


def test_files_that_are_no_run_are_left_alone(tmp_path: Path) -> None:
    """As ``overwrite=true run_dir=~/documents``: names of a run's files, without a run."""
    write(tmp_path, {name: text for name, text in OWN.items() if not name.endswith("config.json")} | OF_THE_USER)
    write(tmp_path, {"model/config.json": '{"model_type": "bert"}', "run.json": "{}", "checkpoints/step_0000004.ckpt": "mine"})
    before = tree(tmp_path)
    assert not is_run(tmp_path)
    with EarlierRun(tmp_path).replaced_by("b"):
        assert tree(tmp_path) == before
    assert tree(tmp_path) == before


def test_model_of_another_kind_stays_beside_a_run(run_dir: Path) -> None:
    write(run_dir, {"model/config.json": '{"model_type": "bert"}'})
    with EarlierRun(run_dir).replaced_by("b"):
        assert (run_dir / "model" / "model.safetensors").is_file()


def test_checkpoints_that_content_does_not_identify_are_kept_aside(run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(run_dir, {"checkpoints/step_0000009.ckpt": "mine"})
    write_checkpoint(run_dir / "checkpoints", 7, run="other")
    with EarlierRun(run_dir).replaced_by("b"):
        pass
    kept = {path.name: path for path in (run_dir / "kept_1" / "checkpoints").iterdir()}
    assert set(kept) == {"step_0000007.ckpt", "step_0000009.ckpt"} and kept["step_0000009.ckpt"].read_text() == "mine"
    assert f"are kept in {run_dir / 'kept_1'}" in caplog.text


def test_linked_folder_is_refused_before_anything_moves(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "checkpoints").rename(tmp_path / "large disk")
    (run_dir / "checkpoints").symlink_to(tmp_path / "large disk")
    before = tree(run_dir)
    with pytest.raises(FileExistsError, match="checkpoints is a link; expected a folder of the run"):
        EarlierRun(run_dir).replaced_by("b").__enter__()
    assert tree(run_dir) == before and (tmp_path / "large disk" / "step_0000004.ckpt").is_file()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EXDEV, errno.EROFS, errno.EBUSY])
def test_move_that_fails_leaves_the_run_as_it_was(run_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    before, rename = tree(run_dir), os.rename

    def failing(source: Path, target: Path) -> None:
        if source.name == "metrics.csv" and "earlier_run" in target.parts:
            raise OSError(code, os.strerror(code))
        rename(source, target)

    monkeypatch.setattr(earlier_run.os, "rename", failing)
    with pytest.raises(OSError, match=rf"run: the earlier run cannot be moved aside \({os.strerror(code)}\); it is unchanged"):
        EarlierRun(run_dir).replaced_by("b").__enter__()
    assert tree(run_dir) == before


def test_only_the_first_process_moves_and_the_others_wait(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(run_dir)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with EarlierRun(run_dir).replaced_by("b"):
        assert tree(run_dir) == before
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    EarlierRun(run_dir)._move_aside("b")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    EarlierRun(run_dir).settle(wait=False)
    waiting = threading.Thread(target=EarlierRun(run_dir).settle, args=(True,))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    EarlierRun(run_dir).restore()
    waiting.join(60)
    assert not waiting.is_alive() and tree(run_dir) == before


def test_log_file_that_is_open_does_not_mix_the_runs(run_dir: Path) -> None:
    handler = logging.FileHandler(run_dir / "train.log")
    logging.getLogger().addHandler(handler)
    try:
        with EarlierRun(run_dir).replaced_by("b"):
            logging.getLogger().warning("of the new run")
            assert "of the new run" not in (run_dir / "earlier_run" / "train.log").read_text()
            assert "old line" not in (run_dir / "train.log").read_text()
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
