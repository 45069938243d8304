"""Laws of generated files: a split is complete or absent, and folders with other content are not modified."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.data.datasets.vspw import VSPW
from src.data.synthetic.moving_scenes import MovingScenes
from src.data.synthetic.scenes import files
from src.data.synthetic.scenes.files import SceneSettings, build_shots, find_folder, generate, is_complete, read_json
from tests.data.sharding import shard

SIZE = (64, 96)
SETTINGS = SceneSettings(num_clips=1, num_frames=3, height=64, width=96, seed=0, cuts=1)


def test_a_split_is_complete_after_it_was_generated(tmp_path: Path) -> None:
    assert not is_complete(tmp_path, "train", SETTINGS)
    generate(tmp_path, "train", SETTINGS)
    assert is_complete(tmp_path, "train", SETTINGS) and not is_complete(tmp_path, "val", SETTINGS)
    folder = find_folder(tmp_path, "train", replace(SETTINGS, seed=1))
    assert folder.parent == tmp_path and not folder.exists() and find_folder(tmp_path, "train", SETTINGS) == tmp_path


def test_a_split_with_a_missing_clip_is_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generate(tmp_path, "train", SETTINGS)
    clip = tmp_path / "data" / "train_0000"
    before = {path.name: path.read_bytes() for path in clip.rglob("*") if path.is_file()}
    (tmp_path / ".unfinished_of_a_killed_process").mkdir()
    shutil.rmtree(clip)
    assert MovingScenes(tmp_path, "train", num_clips=1, num_frames=3, size=SIZE, cuts=1).root == tmp_path
    assert {path.name: path.read_bytes() for path in clip.rglob("*") if path.is_file()} == before
    assert "lacks clips; generating it again" in caplog.text and not list(tmp_path.glob(".unfinished*"))


def test_shards_without_the_settings_are_an_error(tmp_path: Path) -> None:
    generate(tmp_path / "scenes", "train", SETTINGS)
    shard(tmp_path / "scenes", tmp_path / "shards")
    assert len(MovingScenes(tmp_path / "shards", "train", num_clips=1, num_frames=3, size=SIZE, cuts=1).clips) == 1
    with pytest.raises(ValueError, match=r"shards: these shards lack split 'train' with .*'seed': 7.*; expected it, or a folder"):
        MovingScenes(tmp_path / "shards", "train", num_clips=1, num_frames=3, size=SIZE, seed=7)


def test_shots_are_rebuilt_from_their_file(tmp_path: Path) -> None:
    generate(tmp_path, "train", SETTINGS)
    shots = read_json(tmp_path / "data" / "train_0000" / "scene.json")
    first, again = build_shots(shots, SETTINGS), build_shots(shots, SETTINGS)
    assert [start for start, _ in first] == shots["shots"] and len(first) == 2
    for (_, scene), (_, other) in zip(first, again, strict=True):
        for one, two in zip(scene.objects, other.objects, strict=True):
            np.testing.assert_array_equal(one.pose(1.0), two.pose(1.0))
    assert not np.array_equal(first[0][1].objects[2].pose(1.0), first[1][1].objects[2].pose(1.0))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for content in ("{", "[]"):
        (tmp_path / "scene.json").write_text(content)
        with pytest.raises(ValueError, match=r"scene\.json"):
            read_json(tmp_path / "scene.json")


def test_another_version_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of an older generator are neither read nor extended."""
    generate(tmp_path, "train", SETTINGS)
    monkeypatch.setattr(files, "FORMAT", files.FORMAT + 1)
    folders = {find_folder(tmp_path, split, SETTINGS).name for split in ("train", "test")}
    assert len(folders) == 2 and all(name.startswith(("train_", "test_")) for name in folders)


def test_other_data_is_not_modified(tmp_path: Path) -> None:
    """A real VSPW folder is never written to."""
    (tmp_path / "data" / "train_0000").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no dataset\.json"):
        MovingScenes(tmp_path, "train", num_clips=1, num_frames=1, size=SIZE)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "train_0000"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run leaves no list and no clip; the next run starts over."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    write_clip = files._write_clip
    monkeypatch.setattr(files, "_write_clip", lambda *a: write_clip(*a) if a[0].name == "val_0000" else dies())
    with pytest.raises(KeyboardInterrupt):
        MovingScenes(tmp_path, "val", num_clips=2, num_frames=2, size=SIZE)
    with pytest.raises(FileNotFoundError):
        VSPW(tmp_path, "val", num_classes=8)
    assert not list((tmp_path / "data").iterdir())
    monkeypatch.undo()
    assert len(MovingScenes(tmp_path, "val", num_clips=2, num_frames=2, size=SIZE).clips) == 2
    assert not list(tmp_path.glob(".unfinished*"))
