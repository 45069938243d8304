"""Law: reading returns the bytes of the files, wherever the shards are, or an error that names shard and file."""

import json
import logging
import os
from pathlib import Path

import pytest
from fsspec import AbstractFileSystem, register_implementation

from src.data.shards import reader as module
from src.data.shards.reader import INDEX, Shards
from src.files.images.readers import CorruptFileError
from tests.data.sharding import range_server, shard

FILES = {
    "train.txt": b"a\nb\n", "empty.txt": b"", "a/origin/1.jpg": os.urandom(7000), "a/origin/10.jpg": os.urandom(512),
    "a/mask/1.png": os.urandom(1), "b/ö.bin": os.urandom(30_000), f"b/{'long' * 40}.txt": b"a name beyond tar's 100 bytes",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    return shard(tmp_path / "files", tmp_path / "shards", 20_000)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.0, 0.0))


def read_all(shards: Shards) -> dict[str, bytes]:
    return {name: shards.read(name) for name in shards.index.files()}


def index_of(root: Path) -> dict:
    return json.loads((root / INDEX).read_text())


def test_the_bytes_are_those_of_the_files(root: Path) -> None:
    shards = Shards(str(root))
    assert len(shards.index.shards) == 2 and read_all(shards) == FILES
    assert sorted(shards.index.entries("")) == ["a", "b", "empty.txt", "train.txt"]
    assert sorted(shards.index.entries("a")) == ["mask", "origin"] and shards.index.is_folder("a/origin")
    assert not shards.index.is_folder("a/origin/1.jpg") and shards.index.find("a/origin") is None
    with pytest.raises(FileNotFoundError, match=r"shards/a/2.jpg is not in the shards"):
        shards.read("a/2.jpg")


def test_over_http_only_the_requested_files_are_transferred(root: Path) -> None:
    with range_server(root) as server:
        shards = Shards(server.url)
        assert server.requests == ["shards.json None"]
        assert shards.read("a/origin/1.jpg") == shards.read("a/origin/1.jpg") == FILES["a/origin/1.jpg"]
        (request,) = server.requests[1:]
        first, last = map(int, request.split("=")[1].split("-"))
        assert last + 1 - first == 7000
        assert read_all(shards) == FILES


def test_a_failed_request_is_repeated(root: Path, no_pause: None, caplog: pytest.LogCaptureFixture) -> None:
    with range_server(root) as server:
        shards = Shards(server.url)
        server.failures = 2
        assert shards.read("train.txt") == FILES["train.txt"]
        assert sum("next attempt" in record.message for record in caplog.records) == 2
        server.failures = 3
        with pytest.raises(OSError, match=r"shard_00000\d\.tar cannot be read after 3 attempts"):
            shards.read("a/mask/1.png")


def test_a_server_without_ranges_is_an_error(root: Path) -> None:
    with range_server(root) as server:
        shards = Shards(server.url)
        server.supports_ranges = False
        with pytest.raises(CorruptFileError, match="expected 7000; the server may not support range"):
            shards.read("a/origin/1.jpg")


def test_a_truncated_shard_is_named_with_both_lengths(root: Path) -> None:
    victim = root / "shard_000001.tar"
    length = victim.stat().st_size
    with range_server(root) as server:
        shards = Shards(server.url)
        name = next(name for name in FILES if (member := shards.index.find(name)).shard == 1 and member.size)
        os.truncate(victim, 100)
        with pytest.raises(CorruptFileError, match=rf"shard_000001\.tar has 100 bytes; expected {length}; copy it again"):
            shards.read(name)
    # On a local disk, when the shards are opened.
    with pytest.raises(CorruptFileError, match=rf"shard_000001\.tar has 100 bytes; expected {length}"):
        Shards(str(root))
    victim.unlink()
    with pytest.raises(FileNotFoundError, match=rf"shard_000001\.tar does not exist; expected {length} bytes"):
        Shards(str(root))


def test_a_changed_byte_is_found_by_the_checksum(root: Path) -> None:
    shards = Shards(str(root))
    member = shards.index.find("b/ö.bin")
    path = root / shards.index.shards[member.shard].name
    content = bytearray(path.read_bytes())
    content[member.offset + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"b/ö\.bin: checksum of shard_00000\d\.tar, from byte \d+ is \w+; expected"):
        shards.read("b/ö.bin")
    assert shards.read("a/origin/1.jpg") == FILES["a/origin/1.jpg"]


def test_a_second_reader_reads_from_the_cache(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with range_server(root) as server:
        assert read_all(Shards(server.url, cache)) == FILES
        asked = len(server.requests)
        assert read_all(Shards(server.url, cache)) == FILES
        # The second reader requests only the index; after damage to a cached copy, also that file.
        assert len(server.requests) == asked + 1
        copy = max(cache.glob("*/*.tar"), key=lambda path: path.stat().st_size)
        content = bytearray(copy.read_bytes())
        content[-5000] ^= 1
        copy.write_bytes(content)
        assert read_all(Shards(server.url, cache)) == FILES
        assert len(server.requests) == asked + 3


def test_a_cache_that_cannot_be_written_is_a_warning(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert Shards(str(root), tmp_path / "file").read("train.txt") == FILES["train.txt"]
    assert "continuing without it" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.update(format=2), "format is 2; expected 1"),
        (lambda index: index["shards"][0].__setitem__(0, "../../etc/passwd"), "'../../etc/passwd' is not the name of a file"),
        (lambda index: index["folders"].update({"../up": index["folders"].pop("a/origin")}), "'..' is not the name"),
        (lambda index: index["folders"].update({"/etc": index["folders"].pop("a/origin")}), "'' is not the name"),
        (lambda index: index["folders"]["a/origin"]["names"].__setitem__(0, "x/../y"), "is not the name of a file"),
        (lambda index: index["folders"]["a/origin"]["names"].__setitem__(0, 5), "TypeError"),
        (lambda index: index["folders"]["a/origin"]["offset"].__setitem__(0, 2**62), "beyond the end of a shard"),
        (lambda index: index["folders"]["a/origin"]["size"].__setitem__(0, 2**63 - 1), "beyond the end of a shard"),
        (lambda index: index["folders"]["a/origin"]["size"].__setitem__(0, 2**70), "OverflowError"),
        (lambda index: index["folders"]["a/origin"]["offset"].__setitem__(0, -1), "in missing shards"),
        (lambda index: index["folders"]["a/origin"]["shard"].__setitem__(0, 3), "in missing shards"),
        (lambda index: index["folders"]["a/origin"]["size"].pop(), "cannot be read"),
        (lambda index: index["folders"]["a/origin"]["names"].__setitem__(0, "10.jpg"), "does not have 4 numbers for each"),
        (lambda index: index.pop("folders"), "KeyError"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(root: Path, change, message: str) -> None:
    index = index_of(root)
    change(index)
    (root / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=message) as raised:
        Shards(str(root))
    assert f"{root / INDEX} cannot be read" in str(raised.value)


def test_places_without_shards_are_named(tmp_path: Path, no_pause: None) -> None:
    with pytest.raises(FileNotFoundError, match=r"shards\.json does not exist; expected the shards of scripts/make_shards"):
        Shards(str(tmp_path))
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        Shards(str(tmp_path))
    with range_server(tmp_path / "nothing") as server, pytest.raises(FileNotFoundError, match=server.url):
        Shards(server.url)
    with pytest.raises(OSError, match="after 3 attempts"):
        Shards("http://127.0.0.1:9/x")
    with pytest.raises(ValueError, match="Protocol not known: nosuch"):
        Shards("nosuch://x")
    register_implementation("lacking", "no_such_package.Files", errtxt="Please install no_such_package")
    with pytest.raises(ValueError, match="lacking://x cannot be read without a further package: Please install no_such_package"):
        Shards("lacking://x")
    register_implementation("private", _Private)
    with pytest.raises(PermissionError, match=r"private://x/shards\.json may not be read: Access Denied"):
        Shards("private://x")


class _Private(AbstractFileSystem):
    """An object store that says no, as s3fs puts it."""

    protocol = "private"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> bytes:
        raise PermissionError("Access Denied")
