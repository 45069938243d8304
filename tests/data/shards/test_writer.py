"""Law: shards contain the files, byte for byte, or do not exist; equal files make equal shards."""

import os
import tarfile
from pathlib import Path

import pytest
import webdataset

from src.data.shards.reader import INDEX, Shards
from src.data.shards.writer import check_shards, find_files, plan_shards, write_shards
from tests.data.sharding import shard


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for name in (
        "train.txt",
        *(f"data/{video}/origin/{n}.jpg" for video in ("a", "b") for n in range(8, 12)),
        "data/a/x.scene.json",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(900))
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write(source: Path, target: Path) -> list:
    return list(write_shards(source, target, plan_shards(find_files(source), 4000)))


def test_tar_restores_the_folder(source: Path, tmp_path: Path) -> None:
    root = shard(source, tmp_path / "shards", 4000)
    for path in root.glob("*.tar"):
        assert path.stat().st_size <= 4000 + tarfile.RECORDSIZE
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "unpacked", filter="data")
    assert contents(tmp_path / "unpacked") == contents(source)
    times = [(path / "data/a/origin/9.jpg").stat().st_mtime for path in (source, tmp_path / "unpacked")]
    assert int(times[0]) == times[1]


def test_webdataset_reads_the_shards(source: Path, tmp_path: Path) -> None:
    root = shard(source, tmp_path / "shards", 4000)
    urls = [str(path) for path in sorted(root.glob("*.tar"))]
    samples = {
        f"{sample['__key__']}.{suffix}": content
        for sample in webdataset.WebDataset(urls, shardshuffle=False)
        for suffix, content in sample.items()
        if not suffix.startswith("__")
    }
    assert samples == contents(source)


def test_frames_are_in_natural_order_and_hidden_files_left_out(source: Path) -> None:
    (source / "data/a/origin/.hidden.jpg").write_bytes(b"x")
    (source / ".git").mkdir()
    (source / ".git/config").write_bytes(b"x")
    names = [file.name for file in find_files(source, ["*.json"])]
    assert names == ["train.txt", *(f"data/{video}/origin/{n}.jpg" for video in ("a", "b") for n in range(8, 12))]


def test_links_are_followed_but_not_in_circles(source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/1.jpg").write_bytes(b"linked")
    (source / "data/c").symlink_to(tmp_path / "elsewhere")
    assert Shards(str(shard(source, tmp_path / "shards"))).read("data/c/1.jpg") == b"linked"
    (tmp_path / "elsewhere/back").symlink_to(source)
    with pytest.raises(ValueError, match="back is a link to a folder that contains it"):
        find_files(source)


def test_the_same_files_make_the_same_shards(source: Path, tmp_path: Path) -> None:
    assert contents(shard(source, tmp_path / "one", 4000)) == contents(shard(source, tmp_path / "two", 4000))


def test_a_stopped_run_is_resumed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "shards"
    plan = plan_shards(find_files(source), 4000)
    run = write_shards(source, target, plan)
    assert not next(run) and not next(run)
    run.close()
    assert not (target / INDEX).exists() and len(list(target.iterdir())) == 2
    # The second is truncated, as by a disk that lost its last blocks, and the third is unfinished.
    os.truncate(target / "shard_000001.tar", 1000)
    (target / ".shard_000002.0123abcd.partial.tar").write_bytes(b"half")
    again = write(source, target)
    assert again == [True, False] + [False] * (len(plan) - 2)
    assert contents(target) == contents(shard(source, tmp_path / "unbroken", 4000))


def test_a_shard_of_other_files_is_written_anew(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "shards"
    run = write_shards(source, target, plan_shards(find_files(source), 4000))
    next(run)
    run.close()
    (source / "train.txt").write_bytes(os.urandom(900))
    os.utime(source / "train.txt", (1, 1))
    assert not write(source, target)[0]
    assert set(check_shards(Shards(str(target)))) == {None}
    assert Shards(str(target)).read("train.txt") == (source / "train.txt").read_bytes()


def test_a_file_larger_than_a_shard_has_one_of_its_own(source: Path) -> None:
    (source / "data/a/origin/10.jpg").write_bytes(bytes(9000))
    plan = plan_shards(find_files(source), 4000)
    assert [file.name for file in next(files for files in plan if any("10.jpg" in file.name for file in files))] == [
        "data/a/origin/10.jpg"
    ]
    with pytest.raises(ValueError, match="shard size is 0 bytes"):
        plan_shards(find_files(source), 0)


def test_impossible_folders_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_files(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="contains no files"):
        find_files(tmp_path / "empty")
    for target in (source, source / "shards", tmp_path):
        with pytest.raises(ValueError, match="contains the other"):
            write(source, target)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("")
    with pytest.raises(FileExistsError, match=r"contains thesis\.tex; expected a new folder"):
        write(source, tmp_path / "other")
    root = shard(source, tmp_path / "shards")
    with pytest.raises(FileExistsError, match="these shards are complete"):
        write(source, root)


def test_a_file_that_changes_during_the_run_is_an_error(source: Path, tmp_path: Path) -> None:
    plan = plan_shards(find_files(source), 10**6)
    (source / "data/b/origin/9.jpg").write_bytes(b"shorter")
    with pytest.raises(ValueError, match=r"9\.jpg has 7 bytes; expected 900"):
        list(write_shards(source, tmp_path / "shards", plan))
    assert list((tmp_path / "shards").iterdir()) == []
