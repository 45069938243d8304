from pathlib import Path

import pytest

from src.files.results.owned_folder import Scratch
from src.files.tables import new_path
from src.inference.evaluation.results_folder import results_folder


def test_results_appear_together_with_a_marker(tmp_path: Path) -> None:
    target = tmp_path / "maps"
    with results_folder(target, {"data": "x"}, overwrite=False) as folder:
        assert folder is not None and folder != target
        (folder / "a.png").write_text("1")
        assert not (target / "a.png").exists()
    assert sorted(path.name for path in target.iterdir()) == ["a.png", "finished.json"]
    with results_folder(None, {}, overwrite=False) as folder:
        assert folder is None


def test_unfinished_results_are_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), results_folder(tmp_path / "maps", {}, overwrite=False) as folder:
        assert folder is not None
        (folder / "a.png").write_text("1")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_removal_that_fails_does_not_hide_the_signal_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("directory not empty")

    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "__exit__", fail)
        with pytest.raises(KeyboardInterrupt), results_folder(tmp_path / "maps", {}, overwrite=False) as folder:
            raise KeyboardInterrupt
    assert folder is not None and folder.is_dir()
    target = new_path(str(tmp_path / "maps"), overwrite=False)
    with results_folder(target, {}, overwrite=False) as again:
        assert again is not None
        (again / "b.png").write_text("2")
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["b.png", "finished.json"]


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/a.png").write_text("mine")
    with (
        pytest.raises(FileExistsError, match="results are kept in"),
        results_folder(tmp_path / "maps", {}, overwrite=True) as folder,
    ):
        assert folder is not None
        (folder / "a.png").write_text("1")
    assert (tmp_path / "maps/a.png").read_text() == "mine"
