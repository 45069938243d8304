"""Laws of generated files: a split is complete or absent, and folders with other content are not modified."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.data.datasets.vspw import VSPW
from src.data.synthetic.moving_scenes import MovingScenes
from src.data.synthetic.scenes import files
from src.data.synthetic.scenes.files import SceneSettings, build_shots, generate, is_complete, read_json

SIZE = (64, 96)
SETTINGS = SceneSettings(num_clips=1, num_frames=3, height=64, width=96, seed=0, cuts=1)


def test_a_split_is_complete_after_it_was_generated(tmp_path: Path) -> None:
    assert not is_complete(tmp_path, "train", SETTINGS)
    generate(tmp_path, "train", SETTINGS)
    assert is_complete(tmp_path, "train", SETTINGS) and not is_complete(tmp_path, "val", SETTINGS)
    with pytest.raises(ValueError, match=r"'seed': 0.*expected .*'seed': 1"):
        is_complete(tmp_path, "train", replace(SETTINGS, seed=1))


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


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of an older generator are neither read nor extended."""
    generate(tmp_path, "train", SETTINGS)
    monkeypatch.setattr(files, "FORMAT", files.FORMAT + 1)
    for split in ("train", "test"):
        with pytest.raises(ValueError, match="format is 1; expected 2"):
            is_complete(tmp_path, split, SETTINGS)


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
