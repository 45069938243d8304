"""Making shards of a folder, whatever data set it holds; see :mod:`src.data.shards.reader`."""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NamedTuple

from src.data.shards.index import Member, ShardFile, ShardIndex
from src.data.shards.reader import INDEX, Shards
from src.files.atomic_write import atomic_path, write_text
from src.files.images import natural_key

_BLOCK = tarfile.BLOCKSIZE
# Shards, and what a killed process leaves of them and of the index.
_OURS = re.compile(r"shard_\d{6}\.tar|\.shard\w*\.\w+\.partial\.(tar|json)")


class SourceFile(NamedTuple):
    """A file to put into a shard.

    Attributes:
        name: relative to the root, with forward slashes.
        size: bytes.
        time: of its last change, seconds.
    """

    name: str
    size: int
    time: int


class Written(NamedTuple):
    """A shard that is there.

    Attributes:
        files: in it.
        bytes: of it.
        kept: whether an earlier run had written it.
    """

    files: int
    bytes: int
    kept: bool


def find_files(source: Path, leave_out: Sequence[str] = ()) -> list[SourceFile]:
    """The files below a folder, each folder's in time order; hidden ones are passed over, links are followed.

    Args:
        source: the folder.
        leave_out: patterns as of a shell, of relative paths (``*`` takes slashes, too).

    Raises:
        FileNotFoundError: if there is no such folder, or nothing in it.
        ValueError: if a link leads back to a folder that it is in, or a name is not UTF-8.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"{source} does not exist; expected the folder of a data set")
    files: list[SourceFile] = []
    above: dict[str, str] = {}
    for folder, subfolders, names in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        ancestors = f"{above.get(os.path.dirname(folder), '')}{real}\0"
        if ancestors.split("\0").count(real) > 1:
            raise ValueError(f"{folder} is a link to a folder that it is in")
        above[folder] = ancestors
        subfolders[:] = sorted(
            (name for name in subfolders if not name.startswith(".")), key=lambda name: natural_key(Path(name))
        )
        for name in sorted((name for name in names if not name.startswith(".")), key=lambda name: natural_key(Path(name))):
            path = Path(folder) / name
            relative = path.relative_to(source).as_posix()
            if any(fnmatchcase(relative, pattern) for pattern in leave_out):
                continue
            if not relative.isprintable():
                raise ValueError(f"{str(path)!r} has a name that is no plain text")
            about = path.stat()
            files.append(SourceFile(relative, about.st_size, int(about.st_mtime)))
    if not files:
        raise FileNotFoundError(f"{source} holds no files")
    return files


def plan_shards(files: Sequence[SourceFile], shard_bytes: int) -> list[list[SourceFile]]:
    """Files shared out in their order; a file that is larger than a shard has one of its own.

    Args:
        files: in the order of the shards.
        shard_bytes: most bytes of a tar file, without what ends it.

    Raises:
        ValueError: if ``shard_bytes`` is not positive.
    """
    if shard_bytes < 1:
        raise ValueError(f"shards of {shard_bytes} bytes; expected at least 1")
    shards: list[list[SourceFile]] = []
    room = 0
    for file in files:
        size = len(_header(file)) + _padded(file.size)
        if size > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(file)
        room -= size
    return shards


def write_shards(source: Path, target: Path, shards: Sequence[Sequence[SourceFile]]) -> Iterator[Written]:
    """Write the shards, each as a whole or not at all, then the index.

    Shards that an earlier run left are read instead of written, if their files have the names, sizes and times of the source's.

    Args:
        source: where the files are.
        target: a new folder, or one in which an earlier run was stopped.
        shards: which files go where (:func:`plan_shards`).

    Yields:
        what was done with each.

    Raises:
        FileExistsError: if the target holds an index or other files.
        ValueError: if one folder lies in the other, or a file has changed since it was planned.
    """
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(target.resolve()):
        raise ValueError(f"{target} and {source} lie in one another; expected two folders")
    if (target / INDEX).exists():
        raise FileExistsError(f"{target / INDEX} exists: these shards are whole; choose another folder")
    there = [path.name for path in target.iterdir()] if target.exists() else []
    foreign = [name for name in there if not _OURS.fullmatch(name)]
    if foreign:
        raise FileExistsError(f"{target} holds {foreign[0]}; expected a new folder, or one that this script began")
    written: list[ShardFile] = []
    members: dict[str, Member] = {}
    for number, files in enumerate(shards):
        path = target / f"shard_{number:06d}.tar"
        checksums = _read_back(path, files)
        kept = checksums is not None
        if checksums is None:
            with atomic_path(path) as unfinished, unfinished.open("wb") as tar:
                checksums = [_add(tar, source, file) for file in files]
                tar.write(bytes(2 * _BLOCK))
        offset = 0
        for file, crc32 in zip(files, checksums, strict=True):
            offset += len(_header(file))
            members[file.name] = Member(number, offset, file.size, crc32)
            offset += _padded(file.size)
        written.append(ShardFile(path.name, offset + 2 * _BLOCK))
        yield Written(len(files), written[-1].size, kept)
    for name in set(there) - {shard.name for shard in written}:
        (target / name).unlink()
    write_text(target / INDEX, ShardIndex.of(written, members).to_json())


def check_shards(shards: Shards) -> Iterator[str | None]:
    """Read every file.

    Yields:
        For each one, what is wrong with it, or ``None``.
    """
    for name in shards.index.files():
        try:
            shards.read(name)
            yield None
        except (OSError, ValueError) as error:
            yield str(error)


def _add(tar: BinaryIO, source: Path, file: SourceFile) -> int:
    """Append a file to a tar file; its checksum."""
    content = (source / file.name).read_bytes()
    if len(content) != file.size:
        raise ValueError(f"{source / file.name} has {len(content)} bytes; expected {file.size}, as it had when this began")
    tar.write(_header(file))
    tar.write(content)
    tar.write(bytes(_padded(file.size) - file.size))
    return zlib.crc32(content)


def _header(file: SourceFile) -> bytes:
    # The same for the same file, whoever makes it.
    info = tarfile.TarInfo(file.name)
    info.size, info.mtime = file.size, file.time
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _read_back(path: Path, files: Sequence[SourceFile]) -> list[int] | None:
    """The checksums of a shard that is there, if it holds these files; ``None`` otherwise."""
    if not path.is_file():
        return None
    checksums: list[int] = []
    with path.open("rb") as tar:
        for file in files:
            header = _header(file)
            if tar.read(len(header)) != header:
                return None
            content = tar.read(_padded(file.size))
            if len(content) != _padded(file.size):
                return None
            checksums.append(zlib.crc32(content[: file.size]))
        return checksums if tar.read(3 * _BLOCK) == bytes(2 * _BLOCK) else None


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
