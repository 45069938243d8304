"""Laws of result folders: all of the new results or all of the old ones, and never a file of somebody else."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from src.files.results.owned_folder import Scratch, output_lock
from src.files.results.result_marker import FINISHED

Tree = dict[str, str]


def tree(folder: Path) -> Tree:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def without_marker(found: Tree) -> Tree:
    return {name: text for name, text in found.items() if Path(name).name != FINISHED}


def write(home: Path, files: Tree, name: str = ".", overwrite: bool = False) -> None:
    with output_lock(home), Scratch(home, name) as scratch:
        for file, text in files.items():
            (scratch.new / file).parent.mkdir(parents=True, exist_ok=True)
            (scratch.new / file).write_text(text)
        scratch.commit({"frames": len(files)}, overwrite)


OLD = {"overlay.mp4": "old", "labels/0.png": "old", "labels/1.png": "old", "flow/1.png": "old"}
NEW = {"overlay.mp4": "new", "labels/0.png": "new", "labels/2.png": "new"}
MINE = {"notes.txt": "mine", "labels/mine.png": "mine"}


@pytest.mark.parametrize("name", [".", "deep/clip"])
def test_results_replace_the_listed_files_and_leave_all_others(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    write(out, OLD, name)
    for file, text in MINE.items():
        (out / name / file).write_text(text)
    write(out, NEW, name, overwrite=True)
    assert without_marker(tree(out / name)) == NEW | MINE
    assert json.loads((out / name / FINISHED).read_text())["files"] == sorted(NEW)
    assert not list(out.rglob(".mpvss*")) and not (out / name / "flow").exists()
    mask = os.umask(0)
    os.umask(mask)
    assert all(
        path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask
        for path in out.rglob("*")
        if path != out / name
    )


def test_a_file_that_appears_meanwhile_is_left_and_the_results_are_kept(tmp_path: Path) -> None:
    with output_lock(tmp_path), Scratch(tmp_path) as scratch:
        (scratch.new / "overlay.mp4").write_text("new")
        (tmp_path / "overlay.mp4").write_text("mine")
        with pytest.raises(FileExistsError, match=r"overlay\.mp4 exists .*; the results are kept in .*\.kept/new"):
            scratch.commit({}, overwrite=True)
    assert (tmp_path / "overlay.mp4").read_text() == "mine"
    (kept,) = tmp_path.glob(".mpvss.*.kept")
    with output_lock(tmp_path):
        pass
    assert (kept / "new" / "overlay.mp4").read_text() == "new"


def test_the_parent_of_a_result_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="deep is a link"):
        write(tmp_path / "out", NEW, "deep/clip", overwrite=True)
    assert not list((tmp_path / "elsewhere").iterdir())


def at_call(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> list[int]:
    """Run ``action`` before a call, by its number, that changes a folder; return the count of calls."""
    calls = [0]

    def wrapped(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            calls[0] += 1
            if calls[0] == number:
                action()
            return original(*args, **kwargs)

        return call

    for owner, name in [
        (os, "replace"),
        (os, "unlink"),
        (os, "rmdir"),
        (Path, "rename"),
        (Path, "mkdir"),
        (Path, "unlink"),
        (Path, "rmdir"),
    ]:
        monkeypatch.setattr(owner, name, wrapped(getattr(owner, name)))
    return calls


def crossing(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Make a folder a mount point for renames."""
    rename = Path.rename

    def device(path: Path) -> bool:
        return folder in path.parts and ".mpvss" not in str(path.parent)

    def refuse(path: Path, target: Path) -> Path:
        if device(path) != device(Path(target)):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)


@pytest.mark.parametrize(
    ("name", "earlier", "mounted"), [(".", True, False), (".", False, True), ("clip", True, True), ("clip", False, False)]
)
def test_an_error_or_a_kill_at_any_point_leaves_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, earlier: bool, mounted: bool
) -> None:
    (tmp_path / "start" / name).mkdir(parents=True)
    if earlier:
        write(tmp_path / "start", OLD, name)
        (tmp_path / "start" / name / "labels" / "mine.png").write_text("mine")
    before = tree(tmp_path / "start")

    def interrupt() -> None:
        raise KeyboardInterrupt

    outcomes = set()
    for kill in (False, True):
        for number in range(1, 400):
            out = tmp_path / f"out{kill}{number}"
            shutil.copytree(tmp_path / "start", out)
            child = os.fork() if kill else 0
            if not child:
                with monkeypatch.context() as patch:
                    if mounted:
                        crossing(patch, "labels")
                    calls = at_call(patch, number, (lambda: os._exit(1)) if kill else interrupt)
                    with suppress(KeyboardInterrupt):
                        write(out, NEW, name, overwrite=True)
                    if kill:
                        os._exit(0)
                ended = calls[0] < number
            else:
                ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            # A folder with a marker is whole, at any time.
            if (out / name / FINISHED).exists():
                listed = json.loads((out / name / FINISHED).read_text())["files"]
                assert len({(out / name / file).read_text() for file in listed}) == 1
            with monkeypatch.context() as patch:
                if mounted:
                    crossing(patch, "labels")
                # The next run; what a kill, or an error while a scratch is removed, left is removed.
                with output_lock(out):
                    pass
            found = tree(out)
            whole = without_marker(found) == {
                str(Path(name) / file): text for file, text in (NEW | ({"labels/mine.png": "mine"} if earlier else {})).items()
            }
            assert whole or found == before, (kill, number, found)
            outcomes.add((kill, whole))
            assert not list(out.rglob(".mpvss*")), (kill, number)
            if ended:
                break
    assert outcomes == {(kill, whole) for kill in (False, True) for whole in (False, True)}


def test_a_strangers_folder_with_the_name_of_a_scratch_stays(tmp_path: Path) -> None:
    stranger = tmp_path / ".mpvss.00000000.partial"
    (stranger / "new").mkdir(parents=True)
    (stranger / "new" / "precious").write_text("mine")
    (stranger / "scratch.json").write_text('{"format": "other"}')
    (tmp_path / ".mpvss.00000001.partial").mkdir()
    (tmp_path / ".o.12345678.partial").mkdir()
    with output_lock(tmp_path):
        pass
    assert (
        (stranger / "new" / "precious").exists()
        and (stranger / "scratch.json").exists()
        and (tmp_path / ".o.12345678.partial").exists()
    )
    assert not (tmp_path / ".mpvss.00000001.partial").exists(), "a run was killed before its first file"


@pytest.mark.parametrize("wrong", ["target", "marker", "files", "old", "made"])
def test_a_scratch_that_names_a_folder_outside_changes_nothing_there(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a").write_text("mine")
    scratch = tmp_path / "out" / ".mpvss.00000000.partial"
    (scratch / "new").mkdir(parents=True)
    note: dict[str, object] = {"target": ".", "marker": FINISHED, "files": [], "old": [], "made": []}
    if wrong == "target":
        note |= {"target": "../precious", "files": ["a"]}
    else:
        note[wrong] = "../../../precious/a" if wrong == "marker" else ["../precious/a", "../precious"]
    (scratch / "new" / FINISHED).write_text(json.dumps({"files": ["../precious/a"]}))
    (scratch / "scratch.json").write_text(json.dumps({"format": "mpvss_scratch"} | note))
    with output_lock(tmp_path / "out"):
        pass
    assert (tmp_path / "precious" / "a").read_text() == "mine"
